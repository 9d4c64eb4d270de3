//! Column builders for migrations, so that key types, time precision and collations always match
//! on the three databases.
//!
//! * Times are `DATETIME(6)` on MySQL: its `TIMESTAMP` ends in 2038 and the default precision
//!   cuts fractions.
//! * Texts that are compared (`*_key`, names, codes) have a binary collation on MySQL, so that
//!   equality and uniqueness are the same everywhere; folding is done by the application.

use sea_orm::sea_query::{Alias, ColumnDef, IntoIden};

use super::DbKind;

/// Builds columns for one database family.
#[derive(Clone, Copy, Debug)]
pub struct Columns(pub DbKind);

impl Columns {
    /// `bigint` auto-increment primary key named `id`.
    pub fn id(self) -> ColumnDef {
        // SQLite only auto-increments the type `integer`, which is 64 bits wide there.
        let mut def = ColumnDef::new(Alias::new("id"));
        if self.0 == DbKind::Sqlite {
            def.integer()
        } else {
            def.big_integer()
        };
        def.not_null().auto_increment().primary_key().take()
    }

    pub fn bigint(self, name: impl IntoIden) -> ColumnDef {
        ColumnDef::new(name).big_integer().not_null().take()
    }

    pub fn bigint_null(self, name: impl IntoIden) -> ColumnDef {
        ColumnDef::new(name).big_integer().null().take()
    }

    /// `int` with a default.
    pub fn int(self, name: impl IntoIden, default: i32) -> ColumnDef {
        ColumnDef::new(name).integer().not_null().default(default).take()
    }

    pub fn bool(self, name: impl IntoIden, default: bool) -> ColumnDef {
        ColumnDef::new(name).boolean().not_null().default(default).take()
    }

    /// UTC, microseconds.
    pub fn time(self, name: impl IntoIden) -> ColumnDef {
        self.time_type(name).not_null().take()
    }

    pub fn time_null(self, name: impl IntoIden) -> ColumnDef {
        self.time_type(name).null().take()
    }

    fn time_type(self, name: impl IntoIden) -> ColumnDef {
        let mut def = ColumnDef::new(name);
        match self.0 {
            DbKind::MySql => def.custom(Alias::new("DATETIME(6)")),
            DbKind::Sqlite | DbKind::Postgres => def.timestamp_with_time_zone(),
        };
        def
    }

    /// Bounded text compared byte by byte. `n` counts characters; the application enforces it,
    /// because SQLite does not.
    pub fn text(self, name: impl IntoIden, n: u32) -> ColumnDef {
        self.text_type(name, n).not_null().take()
    }

    pub fn text_null(self, name: impl IntoIden, n: u32) -> ColumnDef {
        self.text_type(name, n).null().take()
    }

    fn text_type(self, name: impl IntoIden, n: u32) -> ColumnDef {
        let mut def = ColumnDef::new(name);
        match self.0 {
            DbKind::MySql => def.custom(Alias::new(format!(
                "VARCHAR({n}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            ))),
            DbKind::Sqlite | DbKind::Postgres => def.string_len(n),
        };
        def
    }

    /// Text without a bound of its own (`LONGTEXT` on MySQL, whose `TEXT` ends at 64 KiB).
    pub fn long_text(self, name: impl IntoIden) -> ColumnDef {
        self.long_text_type(name).not_null().take()
    }

    pub fn long_text_null(self, name: impl IntoIden) -> ColumnDef {
        self.long_text_type(name).null().take()
    }

    fn long_text_type(self, name: impl IntoIden) -> ColumnDef {
        let mut def = ColumnDef::new(name);
        match self.0 {
            DbKind::MySql => def.custom(Alias::new("LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")),
            DbKind::Sqlite | DbKind::Postgres => def.text(),
        };
        def
    }

    /// Bytes (`LONGBLOB` on MySQL).
    pub fn bytes(self, name: impl IntoIden) -> ColumnDef {
        let mut def = ColumnDef::new(name);
        match self.0 {
            DbKind::MySql => def.custom(Alias::new("LONGBLOB")),
            DbKind::Sqlite | DbKind::Postgres => def.binary(),
        };
        def.not_null().take()
    }
}
