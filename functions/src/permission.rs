//! Permissions: the refusals, in one place.

use shared::http::Error;

/// Refuses a caller who is no admin.
///
/// # Errors
/// Fails with 403.
pub(crate) fn require_admin(admin: bool, refusal: &'static str) -> Result<(), Error> {
    if admin { Ok(()) } else { Err(Error::forbidden(refusal)) }
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
