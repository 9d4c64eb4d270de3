//! HTTP adapters of the platform: `/api/v1/auth/` and `/api/v1/users/`, over the services that the other
//! surfaces use.

mod told;
