//! Statements that differ from call to call by their numbers only.
//!
//! To put the text of a long `SELECT` together takes longer than to run it on a few rows. What is
//! asked for all the time keeps its text.

use std::sync::OnceLock;

use sea_orm::{DbBackend, Statement, Value, Values};

/// What stands for the first number while the text is made; no statement has such a number itself.
const FIRST: i64 = 6_148_914_691_236_517_000;

/// The text of one statement, for each kind of database.
pub struct FixedText<const N: usize>([OnceLock<Text>; 3]);

struct Text {
    sql: String,
    values: Vec<Slot>,
}

/// A value of the statement.
enum Slot {
    Signed(usize),
    Unsigned(usize),
    Constant(Value),
}

impl<const N: usize> FixedText<N> {
    #[expect(
        clippy::new_without_default,
        reason = "for statics, which a default cannot make"
    )]
    pub const fn new() -> Self {
        FixedText([const { OnceLock::new() }; 3])
    }

    /// The statement with these numbers. `build` makes it from numbers, which may be bound as they
    /// are, signed or not, and any number of times; nothing else may depend on them.
    pub fn with(
        &self,
        backend: DbBackend,
        numbers: [i64; N],
        build: impl FnOnce([i64; N]) -> Statement,
    ) -> Statement {
        let text = match backend {
            DbBackend::Sqlite => &self.0[0],
            DbBackend::MySql => &self.0[1],
            _ => &self.0[2],
        };
        let text = text.get_or_init(|| Text::of(build(stand_ins())));
        let values = text.values.iter().map(|slot| match slot {
            Slot::Signed(n) => numbers[*n].into(),
            Slot::Unsigned(n) => numbers[*n].unsigned_abs().into(),
            Slot::Constant(value) => value.clone(),
        });
        Statement {
            sql: text.sql.clone(),
            values: Some(Values(values.collect())),
            db_backend: backend,
        }
    }
}

fn stand_ins<const N: usize>() -> [i64; N] {
    let mut next = FIRST;
    [(); N].map(|()| {
        next += 1;
        next - 1
    })
}

impl Text {
    fn of(statement: Statement) -> Self {
        let values = statement.values.map(|values| values.0).unwrap_or_default();
        let slot = |value: Value| match value {
            Value::BigInt(Some(n)) if n >= FIRST => number(n).map_or(Slot::Constant(value), Slot::Signed),
            Value::BigUnsigned(Some(n)) => {
                let number = i64::try_from(n).ok().filter(|n| *n >= FIRST).and_then(number);
                number.map_or(Slot::Constant(value), Slot::Unsigned)
            }
            value => Slot::Constant(value),
        };
        Text {
            sql: statement.sql,
            values: values.into_iter().map(slot).collect(),
        }
    }
}

/// Which number a stand-in is for.
fn number(stand_in: i64) -> Option<usize> {
    usize::try_from(stand_in - FIRST).ok()
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};

    use super::*;

    fn select([a, b]: [i64; 2], backend: DbBackend) -> Statement {
        let column = || Expr::col(Alias::new("n"));
        let select = Query::select()
            .expr(column())
            .from(Alias::new("t"))
            .and_where(column().gt(a))
            .and_where(column().ne("constant"))
            .and_where(column().lt(b).or(column().eq(a)))
            .limit(b.unsigned_abs())
            .take();
        backend.build(&select)
    }

    #[test]
    fn it_is_the_statement_that_would_have_been_built() {
        static TEXT: FixedText<2> = FixedText::new();
        for backend in [DbBackend::Sqlite, DbBackend::MySql, DbBackend::Postgres] {
            for numbers in [[1, 2], [-7, 0], [i64::MAX, 40]] {
                let fixed = TEXT.with(backend, numbers, |numbers| select(numbers, backend));
                assert_eq!(fixed, select(numbers, backend));
            }
        }
    }
}
