//! Permissions: the refusals, in one place.

use shared::db::Session;
use shared::http::{Abort, Caller, Error};

/// Refuses a caller who is no admin.
///
/// # Errors
/// Fails with 403.
pub(crate) fn require_admin(admin: bool, refusal: &'static str) -> Result<(), Error> {
    if admin { Ok(()) } else { Err(Error::forbidden(refusal)) }
}

/// Refuses a caller who is no admin by now. A replay asks this about a row that is gone.
///
/// # Errors
/// Fails with 401 for an unregistered caller, 403.
pub(crate) async fn require_admin_still(db: &mut Session, caller: &Caller, refusal: &'static str) -> Result<(), Abort> {
    let admin = sqlx::query_scalar!(
        r#"SELECT role = 'admin' AS "admin!" FROM users WHERE clerk_id = $1"#,
        caller.sub
    )
    .fetch_optional(db)
    .await?;
    Ok(require_admin(admin.ok_or_else(Error::unknown_caller)?, refusal)?)
}

/// Checks a permission, which is `None` if the caller does not see the resource.
///
/// # Errors
/// Fails with 404 for a resource that the caller does not see, 403 for one that they see without the permission.
pub(crate) fn permit(permission: Option<bool>, resource: &'static str, refusal: &'static str) -> Result<(), Error> {
    match permission {
        None => Err(Error::not_found(resource)),
        Some(false) => Err(Error::forbidden(refusal)),
        Some(true) => Ok(()),
    }
}
