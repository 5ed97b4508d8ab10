//! The ids of the resources, a type for each: the compiler refuses a task's id where a meeting's belongs.

use uuid::Uuid;

macro_rules! ids {
    ($($(#[$text:meta])* $name:ident)*) => {$(
        $(#[$text])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub Uuid);

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

ids! {
    /// A user, who is an admin or a member.
    UserId
    /// A meeting.
    MeetingId
    /// A task of a meeting.
    TaskId
    /// An invitation into a team.
    InvitationId
    /// A key area of a member.
    KeyAreaId
    /// An analysis of a member.
    AnalysisId
}
