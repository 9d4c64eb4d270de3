//! `/api/users/…`: the caller's own profile and picture.

use bytes::Bytes;
use poem_openapi::OpenApi;
use yunque_kernel::auth::Caller;
use yunque_kernel::http::{Body, Json, MultipartBody, RequestInfo};
use yunque_kernel::{ApiError, Text};

use super::AccountsTags;
use crate::dto::agents::{AvatarIn, AvatarOut, ProfileUpdateIn, UserOut};
use crate::error::AccountsError;
use crate::service::changes::AccountChanges;
use crate::{Accounts, Client};

/// Exactly so many bytes are allowed.
const MAX_AVATAR: usize = 2 << 20;
/// Read and thrown away up to here, so that the client hears why; beyond it is a 413.
const MULTIPART_LIMIT: u64 = 64 << 20;
const UPLOADED: Text = Text::fixed("头像上传成功", "Picture uploaded.");

pub(super) struct OwnMemberApi {
    pub accounts: Accounts,
}

impl OwnMemberApi {
    async fn change(
        &self,
        caller: &Caller,
        info: &RequestInfo,
        body: ProfileUpdateIn,
    ) -> Result<Json<UserOut>, ApiError> {
        let ProfileUpdateIn {
            username,
            name,
            phone,
            email,
            first_name,
            last_name,
            password,
        } = body;
        let changes = AccountChanges {
            username,
            name,
            phone: super::cleared(phone),
            email,
            first_name,
            last_name,
            ..Default::default()
        };
        let changed = self
            .accounts
            .update_profile(caller, changes, password.as_ref(), &Client::of(info))
            .await?;
        Ok(Json(self.accounts.shown(changed)))
    }
}

#[OpenApi(prefix_path = "/api/users", tag = "AccountsTags::Users")]
impl OwnMemberApi {
    /// Shows the caller's account.
    #[oai(path = "/profile", method = "get", operation_id = "get_profile")]
    async fn profile(&self, caller: Caller) -> Result<Json<UserOut>, ApiError> {
        let own = self.accounts.own_member(&caller).await?;
        Ok(Json(self.accounts.shown(own)))
    }

    /// Changes the caller's profile; absent fields stay.
    ///
    /// Errors: 400 `username_taken`, `email_taken`, `wrong_password`, 403 `api_key_not_allowed`.
    #[oai(path = "/update_profile", method = "patch", operation_id = "update_profile")]
    async fn update_profile(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<ProfileUpdateIn>,
    ) -> Result<Json<UserOut>, ApiError> {
        self.change(&caller, &info, body.into_inner()).await
    }

    /// Changes the caller's profile; the same as PATCH, absent fields stay.
    ///
    /// Errors: 400 `username_taken`, `email_taken`, `wrong_password`, 403 `api_key_not_allowed`.
    #[oai(path = "/update_profile", method = "put", operation_id = "put_profile")]
    async fn put_profile(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: Body<ProfileUpdateIn>,
    ) -> Result<Json<UserOut>, ApiError> {
        self.change(&caller, &info, body.into_inner()).await
    }

    /// Replaces the caller's picture.
    ///
    /// The type is told from the bytes; everything but the picture (place, camera, comments) is
    /// removed. At most 2 MiB, 40 megapixels and 500 frames.
    ///
    /// Errors: 400 `image_required`, `image_too_large`, `unsupported_image`, `invalid_image`,
    /// `image_dimensions_exceeded`, 413.
    #[oai(path = "/upload_avatar", method = "post", operation_id = "upload_avatar")]
    async fn upload_avatar(
        &self,
        caller: Caller,
        info: RequestInfo,
        body: MultipartBody<AvatarIn, MULTIPART_LIMIT>,
    ) -> Result<Json<AvatarOut>, ApiError> {
        let avatar = read_avatar(body).await?;
        let url = self.accounts.set_avatar(&caller, avatar).await?;
        Ok(Json(AvatarOut {
            message: UPLOADED.get(info.lang).to_owned(),
            url,
        }))
    }
}

/// Reads all parts before anything is refused for its size, so that the connection stays usable.
async fn read_avatar(mut body: MultipartBody<AvatarIn, MULTIPART_LIMIT>) -> Result<Bytes, ApiError> {
    let largest = MAX_AVATAR as u64;
    // What came, and what is left of it after the cleaning.
    body.hold(body.declared().unwrap_or(largest).min(largest) * 2)
        .await?;
    let mut avatar = None;
    while let Some(part) = body.next().await? {
        if part.name() == Some("avatar") && avatar.is_none() {
            avatar = Some(body.bytes(part, MAX_AVATAR).await?);
        } else {
            body.skip(part).await?;
        }
    }
    match avatar {
        Some(None) => Err(AccountsError::AvatarTooLarge.into()),
        Some(Some(bytes)) if !bytes.is_empty() => Ok(bytes),
        _ => Err(AccountsError::AvatarRequired.into()),
    }
}
