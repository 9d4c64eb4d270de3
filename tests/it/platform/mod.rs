//! The platform, `/api/v1/`: authentication, users and core. Modules whose names hold `auth` run on every
//! combination of database and carrier.
