//! Small helpers over the schema builder, for what differs between the databases.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;
use yunque_kernel::db::DbKind;
use yunque_kernel::db::columns::Columns;
use yunque_kernel::db::text_index::TextIndex;

/// A migration's view of one database.
pub struct Schema<'a> {
    manager: &'a SchemaManager<'a>,
    pub columns: Columns,
    mysql: bool,
}

/// One index of a table; columns may be descending.
pub struct Ix {
    /// Name, and whether it descends.
    columns: Vec<(&'static str, bool)>,
    unique: bool,
    name: Option<&'static str>,
}

/// An ordinary index. A leading `-` makes a column descending.
pub fn index(columns: &[&'static str]) -> Ix {
    Ix {
        columns: columns.iter().map(|c| ordered(c)).collect(),
        unique: false,
        name: None,
    }
}

/// A unique index, named `<table>_<columns>_key`.
pub fn unique(columns: &[&'static str]) -> Ix {
    Ix {
        unique: true,
        ..index(columns)
    }
}

fn ordered(column: &'static str) -> (&'static str, bool) {
    match column.strip_prefix('-') {
        Some(name) => (name, true),
        None => (column, false),
    }
}

impl Ix {
    /// For an index whose own name would be longer than the 64 characters of MySQL.
    pub fn named(self, name: &'static str) -> Self {
        Ix {
            name: Some(name),
            ..self
        }
    }

    fn name(&self, table: &'static str) -> String {
        if let Some(name) = self.name {
            return name.to_owned();
        }
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        let suffix = if self.unique { "key" } else { "idx" };
        format!("{table}_{}_{suffix}", names.join("_"))
    }

    fn build(&self, table: &'static str) -> IndexCreateStatement {
        let mut statement = Index::create();
        statement.name(self.name(table));
        for (name, descends) in &self.columns {
            match descends {
                true => statement.col((*name, IndexOrder::Desc)),
                false => statement.col(*name),
            };
        }
        if self.unique {
            statement.unique();
        }
        statement
    }
}

impl<'a> Schema<'a> {
    pub fn new(manager: &'a SchemaManager<'a>) -> Self {
        let (kind, mysql) = match manager.get_database_backend() {
            DbBackend::MySql => (DbKind::MySql, true),
            DbBackend::Postgres => (DbKind::Postgres, false),
            _ => (DbKind::Sqlite, false),
        };
        Schema {
            manager,
            columns: Columns(kind),
            mysql,
        }
    }

    /// Creates a table and its indexes unless they are there.
    pub async fn create(
        &self,
        table: &'static str,
        indexes: &[Ix],
        define: impl FnOnce(&mut TableCreateStatement, Columns),
    ) -> Result<(), DbErr> {
        let mut create = Table::create();
        create.table(table).if_not_exists();
        define(&mut create, self.columns);
        if self.mysql {
            // One statement, because MySQL knows no CREATE INDEX IF NOT EXISTS.
            create
                .engine("InnoDB")
                .character_set("utf8mb4")
                .collate("utf8mb4_bin");
            for ix in indexes {
                create.index(&mut ix.build(table));
            }
            return self.manager.create_table(create).await;
        }
        self.manager.create_table(create).await?;
        for ix in indexes {
            let mut statement = ix.build(table);
            statement.table(table).if_not_exists();
            self.manager.create_index(statement).await?;
        }
        Ok(())
    }

    /// Creates a full-text index unless it is there.
    pub async fn create_text_index(&self, table: &'static str) -> Result<(), DbErr> {
        for sql in TextIndex(table).created(self.manager.get_database_backend()) {
            self.connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    /// Puts indexes in the place of others. What is done already is left.
    pub async fn replace_indexes(&self, table: &'static str, old: &[Ix], new: &[Ix]) -> Result<(), DbErr> {
        for ix in new {
            if !self.manager.has_index(table, &ix.name(table)).await? {
                let statement = ix.build(table).table(table).take();
                self.manager.create_index(statement).await?;
            }
        }
        for ix in old {
            if self.manager.has_index(table, &ix.name(table)).await? {
                let drop = Index::drop().name(ix.name(table)).table(table).to_owned();
                self.manager.drop_index(drop).await?;
            }
        }
        Ok(())
    }

    /// Adds a column, which needs a default, unless it is there.
    pub async fn add_column(
        &self,
        table: &'static str,
        name: &'static str,
        column: ColumnDef,
    ) -> Result<(), DbErr> {
        if self.manager.has_column(table, name).await? {
            return Ok(());
        }
        let alter = Table::alter().table(table).add_column(column).take();
        self.manager.alter_table(alter).await
    }

    /// Drops a column, if it is there.
    pub async fn drop_column(&self, table: &'static str, name: &'static str) -> Result<(), DbErr> {
        if !self.manager.has_column(table, name).await? {
            return Ok(());
        }
        let alter = Table::alter().table(table).drop_column(name).take();
        self.manager.alter_table(alter).await
    }

    /// Drops tables, in the order given.
    pub async fn drop(&self, tables: &[&'static str]) -> Result<(), DbErr> {
        for table in tables {
            self.manager
                .drop_table(Table::drop().table(*table).if_exists().take())
                .await?;
        }
        Ok(())
    }

    pub fn connection(&self) -> &SchemaManagerConnection<'a> {
        self.manager.get_connection()
    }
}

/// A foreign key to `target.id`.
pub fn reference(
    table: &'static str,
    column: &'static str,
    target: &'static str,
    on_delete: ForeignKeyAction,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_{column}_fk"))
        .from(table, column)
        .to(target, "id")
        .on_delete(on_delete)
        .take()
}

/// A bounded text that holds one of `values`; the check refuses anything else.
pub fn one_of(column: &'static str, values: &[&'static str]) -> SimpleExpr {
    let list = values
        .iter()
        .map(|v| format!("'{v}'"))
        .collect::<Vec<_>>()
        .join(", ");
    Expr::cust(format!("{column} IN ({list})"))
}

/// Declares the migration of a module: its name is the module's, and it runs in a transaction
/// wherever the database can roll schema changes back.
macro_rules! migration {
    ($name:literal) => {
        pub struct Migration;

        impl sea_orm_migration::MigrationName for Migration {
            fn name(&self) -> &str {
                $name
            }
        }

        #[async_trait::async_trait]
        impl sea_orm_migration::MigrationTrait for Migration {
            async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                up(&Schema::new(manager)).await
            }

            async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
                down(&Schema::new(manager)).await
            }

            /// MySQL ends the transaction at its first DDL statement, so it gets none.
            fn use_transaction(&self) -> Option<bool> {
                Some(true)
            }
        }
    };
}
pub(crate) use migration;
