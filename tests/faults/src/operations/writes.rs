//! The clients' writes, and the state that they expect afterwards. Depends on: [`super`] for sending and for choosing a
//! target.

use super::*;

impl Client {
    pub(super) async fn register(&mut self, sub: &str, email: &str) -> Result<Option<Answer>> {
        let call = Call::new("POST", "/api/users/register", &[200, 201])
            .by(sub, email)
            .body(json!({}));
        let asked = self.write(sub, call).await?;
        self.record_write(sub, WriteEffect::User, &asked);
        match asked {
            Asked::Answered(answer) => {
                if answer.text("clerkId") != sub {
                    self.wrong(format!("{sub} registered as {}", answer.body));
                }
                Ok(Some(answer))
            }
            Asked::Given(_) => Ok(None),
        }
    }

    pub(super) async fn create_meeting(&mut self) -> Result<()> {
        if self.team.meetings.len() >= MEETINGS {
            return self.update_meeting().await;
        }
        let marker = self.marker();
        let bot = format!("bot-{marker}");
        let body = json!({
            "title": marker, "agenda": marker, "meetingBaasId": bot, "teamMemberId": self.team.admin,
            "date": "2031-03-04T09:30:00Z", "duration": 30,
        });
        let call = self.call("POST", "/api/meetings", &[201]).body(body);
        let asked = self.write(&marker, call).await?;
        self.record_write(&marker, WriteEffect::Meeting, &asked);
        match asked {
            Asked::Answered(answer) => {
                if answer.text("title") != marker {
                    self.wrong(format!("the meeting {marker} was made as {}", answer.body));
                }
                let meeting = Meeting {
                    title: marker,
                    bot,
                    version: 1,
                    ..Meeting::default()
                };
                self.team.meetings.insert(answer.text("id").to_owned(), meeting);
            }
            Asked::Given(WriteOutcome::Unknown) => self.team.more = true,
            Asked::Given(WriteOutcome::Done | WriteOutcome::Absent) => {}
        }
        Ok(())
    }

    pub(super) async fn update_meeting(&mut self) -> Result<()> {
        let Some(id) = self.any_meeting() else { return Ok(()) };
        let marker = self.marker();
        let version = self.team.meetings[&id].version;
        let call = self
            .call("PUT", format!("/api/meetings/{id}"), &[200])
            .body(json!({"title": marker}));
        let call = call.header("if-match", format!("\"{version}\""));
        let title = marker.clone();
        let older = self.older.replace((id.clone(), marker.clone(), call.clone()));
        let asked = self
            .change(&id, &marker, call, |client, answer| {
                if answer.text("title") != title {
                    client.wrong(format!("an update to {title} was answered with {}", answer.body));
                }
                if let Some(meeting) = client.team.meetings.get_mut(answer.text("id")) {
                    meeting.title = title;
                    meeting.version += 1;
                    meeting.changes += 1;
                }
            })
            .await?;
        self.record_write(&marker, WriteEffect::Change(id.clone()), &asked);
        match (asked, older) {
            (Asked::Answered(_), Some((same, key, call))) if same == id && self.random.u8(0..4) == 0 => {
                self.replay(&id, &key, call).await
            }
            (Asked::Given(_), _) => {
                self.older = None;
                Ok(())
            }
            (Asked::Answered(_), _) => Ok(()),
        }
    }

    /// Repeats an older update: it is not applied again, and its replay shows the meeting as it is now.
    async fn replay(&mut self, id: &str, key: &str, call: Call) -> Result<()> {
        if let Asked::Answered(again) = self.repeat(key, call).await? {
            let known = self.team.meetings.get(id).map(|meeting| meeting.title.clone());
            // Not every replay is marked: a request whose own reply was lost cannot distinguish its receipt from an
            // earlier one's.
            if known.as_deref() != Some(again.text("title")) {
                self.wrong(format!(
                    "{key}: repeated, and answered with {}: knew {known:?}",
                    again.body
                ));
            }
        }
        Ok(())
    }

    pub(super) async fn delete_meeting(&mut self) -> Result<()> {
        if self.team.meetings.len() < 2 {
            return self.create_meeting().await;
        }
        let Some(id) = self.any_meeting() else { return Ok(()) };
        let marker = self.marker();
        let call = self.call("DELETE", format!("/api/meetings/{id}"), &[204]);
        let gone = id.clone();
        self.change(&id, &marker, call, |client, _| {
            client.team.meetings.remove(&gone);
        })
        .await?;
        Ok(())
    }

    pub(super) async fn create_task(&mut self) -> Result<()> {
        let tasks: usize = self.team.meetings.values().map(|meeting| meeting.tasks.len()).sum();
        let Some(id) = self.any_meeting().filter(|_| tasks < TASKS) else {
            return self.update_task().await;
        };
        let marker = self.marker();
        let status = if self.random.bool() { "suggested" } else { "incomplete" };
        let body = json!({"text": marker, "reasoning": marker, "status": status});
        let call = self
            .call("POST", format!("/api/meetings/{id}/tasks"), &[201])
            .body(body);
        let (meeting, text) = (id.clone(), marker.clone());
        let asked = self
            .change(&id, &marker, call, |client, answer| {
                if (answer.text("text"), answer.text("status")) != (&*text, status) {
                    client.wrong(format!("the task {text} was made as {}", answer.body));
                }
                let task = Task {
                    text,
                    status: status.to_owned(),
                };
                if let Some(meeting) = client.team.meetings.get_mut(&meeting) {
                    meeting.tasks.insert(answer.text("id").to_owned(), task);
                }
            })
            .await?;
        self.record_write(&marker, WriteEffect::Task(id), &asked);
        Ok(())
    }

    pub(super) async fn update_task(&mut self) -> Result<()> {
        let Some((id, task)) = self.any_task(|_| true) else {
            return self.update_meeting().await;
        };
        let marker = self.marker();
        let call = self
            .call("PATCH", format!("/api/meetings/{id}/tasks/{task}"), &[200])
            .body(json!({"text": marker}));
        let (meeting, text) = (id.clone(), marker.clone());
        self.change(&id, &marker, call, |client, answer| {
            if (answer.text("id"), answer.text("text")) != (&*task, &*text) {
                client.wrong(format!(
                    "task {task} changed to {text} was answered with {}",
                    answer.body
                ));
            }
            if let Some(task) = client
                .team
                .meetings
                .get_mut(&meeting)
                .and_then(|meeting| meeting.tasks.get_mut(&task))
            {
                task.text = text;
            }
        })
        .await?;
        Ok(())
    }

    pub(super) async fn approve_task(&mut self) -> Result<()> {
        let Some((id, task)) = self.any_task(|task| task.status == "suggested") else {
            return self.create_task().await;
        };
        let marker = self.marker();
        let call = self.call("PATCH", format!("/api/meetings/{id}/tasks/{task}/approve"), &[200]);
        let meeting = id.clone();
        self.change(&id, &marker, call, |client, answer| {
            if (answer.text("id"), answer.text("status")) != (&*task, "incomplete") {
                client.wrong(format!("task {task} approved was answered with {}", answer.body));
            }
            if let Some(task) = client
                .team
                .meetings
                .get_mut(&meeting)
                .and_then(|meeting| meeting.tasks.get_mut(&task))
            {
                task.status = "incomplete".to_owned();
            }
        })
        .await?;
        Ok(())
    }

    pub(super) async fn delete_task(&mut self) -> Result<()> {
        let Some((id, task)) = self.any_task(|_| true) else {
            return self.create_task().await;
        };
        let marker = self.marker();
        let call = self.call("DELETE", format!("/api/meetings/{id}/tasks/{task}"), &[204]);
        let meeting = id.clone();
        self.change(&id, &marker, call, |client, _| {
            if let Some(meeting) = client.team.meetings.get_mut(&meeting) {
                meeting.tasks.remove(&task);
            }
        })
        .await?;
        Ok(())
    }

    pub(super) async fn invite(&mut self) -> Result<()> {
        if !self.team.has_place() {
            return self.make_room().await;
        }
        let email = format!("{}@example.com", self.marker());
        let call = self
            .call("POST", "/api/users/invite", &[201])
            .body(json!({"email": email}));
        let asked = self.write(&email, call).await?;
        self.record_write(&email, WriteEffect::Invitation, &asked);
        match asked {
            Asked::Answered(answer) => self.team.invited.push(Invited {
                email,
                id: answer.text("id").to_owned(),
                token: answer.body.get("token").and_then(Value::as_str).map(str::to_owned),
            }),
            Asked::Given(WriteOutcome::Unknown) => self.team.doubtful_places += 1,
            Asked::Given(WriteOutcome::Done | WriteOutcome::Absent) => {}
        }
        Ok(())
    }

    /// Registers an invited person, who then accepts.
    pub(super) async fn join_invited(&mut self) -> Result<()> {
        let Some(invited) = self.team.invited.pop() else {
            return self.invite().await;
        };
        let Invited {
            email,
            token: Some(token),
            ..
        } = &invited
        else {
            return self.cancel(invited).await;
        };
        if self.register(&email.clone(), email).await?.is_none() {
            return self.cancel(invited).await;
        }
        let call = Call::new("POST", "/api/users/invite/accept", &[200])
            .by(email, email)
            .body(json!({"token": token}));
        match self.write(&format!("{email}-accepts"), call).await? {
            Asked::Answered(answer) => {
                let user = &answer.body["user"];
                if user["role"] != "user" || user["adminId"] != self.team.admin.as_str() {
                    self.wrong(format!("invited and accepted as {}", answer.body));
                }
                let id = user["id"].as_str().unwrap_or_default().to_owned();
                self.team.members.push((email.clone(), id));
            }
            // The invitation, or the member, keeps the place.
            Asked::Given(_) => self.team.doubtful_places += 1,
        }
        Ok(())
    }

    /// Removes a member, or cancels an invitation.
    async fn make_room(&mut self) -> Result<()> {
        let Some((sub, id)) = self.team.members.pop() else {
            return match self.team.invited.pop() {
                Some(invited) => self.cancel(invited).await,
                None => self.create_task().await,
            };
        };
        self.team.removed.insert(sub);
        let key = self.marker();
        let call = self.call("DELETE", format!("/api/users/team-members/{id}"), &[200]);
        if let Asked::Given(_) = self.write(&key, call).await? {
            self.team.doubtful_places += 1;
        }
        Ok(())
    }

    async fn cancel(&mut self, Invited { email, id, .. }: Invited) -> Result<()> {
        let key = self.marker();
        let call = self.call("DELETE", format!("/api/users/invitations/{id}"), &[200]);
        let asked = self.write(&key, call).await?;
        let certain = matches!(asked, Asked::Answered(_));
        if !certain {
            self.team.doubtful_places += 1;
        }
        self.team.cancelled.insert(email, certain);
        Ok(())
    }

    /// Sends a delivery of the recording service until it is accepted, and sometimes once more.
    pub(super) async fn deliver(&mut self) -> Result<()> {
        let Some(id) = self.any_meeting() else {
            return self.create_meeting().await;
        };
        let marker = self.marker();
        let body = json!({"event": "complete", "data": {
            "bot_id": self.team.meetings[&id].bot,
            "transcript": [{"speaker": "Ada", "words": [{"start": 0.0, "end": 1.0, "word": marker}]}],
        }});
        let time = chrono::Utc::now().timestamp();
        let secret = STANDARD.decode(WEBHOOK_SECRET.trim_start_matches("whsec_"))?;
        let delivery = format!("msg-{marker}");
        let signature = Webhook::from_bytes(secret)?.sign(&delivery, time, body.to_string().as_bytes())?;
        let call = Call::new("POST", "/api/meetings/webhook", &[200])
            .header("webhook-id", delivery)
            .header("webhook-timestamp", time.to_string())
            .header("webhook-signature", signature)
            .body(body);
        let meeting = id.clone();
        self.change(&id, &marker, call, |client, _| {
            if let Some(meeting) = client.team.meetings.get_mut(&meeting) {
                let word = format!(r#"{{"start":0.0,"end":1.0,"word":"{marker}"}}"#);
                meeting.transcript = Some(format!(r#"[{{"speaker":"Ada","words":[{word}]}}]"#));
                meeting.version += 1;
            }
        })
        .await?;
        Ok(())
    }
}
