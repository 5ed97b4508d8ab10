//! Writes with a requirement on their answer: refused ones, and one write that is sent to two environments at once.

use super::*;

impl Client {
    /// Sends a write that must be refused and must change nothing.
    pub(super) async fn be_refused(&mut self) -> Result<()> {
        let Some(id) = self.any_meeting() else {
            return self.create_meeting().await;
        };
        let marker = self.marker();
        let absent = format!("/api/meetings/{}", uuid::Uuid::from_u128(self.random.u128(..)));
        let call = match self.random.u8(0..3) {
            0 => self
                .call("PUT", format!("/api/meetings/{id}"), &[412])
                .header("if-match", "\"999999\""),
            1 => self.call("PUT", absent, &[404]),
            _ => self.call("DELETE", absent, &[404]),
        };
        let call = call.body(json!({"title": marker}));
        if let Asked::Answered(answer) = self.write(&marker, call).await?
            && answer.is_replayed()
        {
            self.wrong(format!("{marker}: refused, and replayed"));
        }
        // It must leave nothing.
        self.writes.push(RecordedWrite {
            marker,
            effect: WriteEffect::Change(id),
            outcome: WriteOutcome::Absent,
        });
        Ok(())
    }

    /// Creates one meeting in two environments at once under one key. Both must answer with the same one.
    pub(super) async fn create_twice_at_once(&mut self) -> Result<()> {
        let marker = self.marker();
        let bot = format!("bot-{marker}");
        let call = self.call("POST", "/api/meetings", &[201]).body(json!({
            "title": marker, "agenda": marker, "meetingBaasId": bot, "teamMemberId": self.team.admin,
            "date": "2031-03-04T09:30:00Z", "duration": 30,
        }));
        let mut sending = JoinSet::new();
        for number in 0..2 {
            let mut twin = Self::new(number, self.random.u64(..), &self.testbed, &self.history);
            let (call, key) = (call.clone(), marker.clone());
            sending.spawn(async move {
                twin.has_twin = true;
                let asked = twin.write(&key, call).await?;
                anyhow::Ok((twin.wrong, asked))
            });
        }
        let (mut ids, mut unknown) = (Vec::new(), false);
        for (wrong, asked) in joined(sending).await? {
            self.wrong.extend(wrong);
            match asked {
                Asked::Answered(answer) => ids.push(answer.text("id").to_owned()),
                Asked::Given(outcome) => unknown |= outcome == WriteOutcome::Unknown,
            }
        }
        if ids.iter().any(|id| *id != ids[0]) {
            self.wrong(format!("one key and two meetings: {ids:?}"));
        }
        let outcome = match (ids.pop(), unknown) {
            (Some(id), _) => {
                let meeting = Meeting {
                    title: marker.clone(),
                    bot,
                    version: 1,
                    ..Meeting::default()
                };
                self.team.meetings.insert(id, meeting);
                WriteOutcome::Done
            }
            (None, true) => {
                self.team.more = true;
                WriteOutcome::Unknown
            }
            (None, false) => WriteOutcome::Absent,
        };
        self.writes.push(RecordedWrite {
            marker,
            effect: WriteEffect::Meeting,
            outcome,
        });
        Ok(())
    }
}
