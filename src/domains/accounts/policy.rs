//! Who may do what to an account, and which new passwords are good enough. Pure functions.

use std::sync::LazyLock;

use yunque_kernel::auth::Caller;
use yunque_kernel::error::Text;
use yunque_kernel::ids::UserId;

use crate::error::AccountsError;
use crate::settings::PasswordPolicy;

/// Those of the list that Django ships (BSD-3-Clause, collected by Royce Williams) that would pass
/// the other rules, with company and year endings added. Sorted by byte, one to a line.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

const WEAK: Text = Text::fixed("密码强度不足", "The password is too weak.");
const NUMERIC: Text = Text::fixed("密码不能全为数字", "The password may not consist of digits only.");
const WIDELY_USED: Text = Text::fixed("密码过于常见", "The password is too common.");
const SIMILAR: Text = Text::fixed(
    "密码与账户信息过于相似",
    "The password is too similar to the account.",
);
const UNCHANGED: Text = Text::fixed(
    "新密码不能与旧密码相同",
    "The new password must differ from the old one.",
);

/// From this share of common characters on, a password counts as similar.
const SIMILARITY: f64 = 0.7;

/// How an account is not available to a caller. Accounts are `Hidden`: their ids are sequential,
/// and whether one exists is nobody's business (contract "conventions" 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Answered as if it did not exist.
    Hidden,
    /// Answered with 403.
    Refused,
}

impl From<Denied> for AccountsError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Hidden => AccountsError::NotFound,
            Denied::Refused => AccountsError::PermissionDenied,
        }
    }
}

/// Oneself and admins.
pub fn see_account(caller: &Caller, target: UserId) -> Result<(), Denied> {
    if caller.is_staff || caller.user_id == target {
        Ok(())
    } else {
        Err(Denied::Hidden)
    }
}

/// Admins only; the list shows every address.
pub fn list_accounts(caller: &Caller) -> Result<(), Denied> {
    if caller.is_staff {
        Ok(())
    } else {
        Err(Denied::Refused)
    }
}

/// Admins only.
pub fn create_account(caller: &Caller) -> Result<(), Denied> {
    list_accounts(caller)
}

/// What the strict policy compares a password with.
#[derive(Clone, Copy, Debug)]
pub struct PasswordOwner<'a> {
    pub username: &'a str,
    pub email: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
}

/// Why a new password is refused, beyond its length, if it is.
pub fn weakness(policy: PasswordPolicy, password: &str, owner: PasswordOwner<'_>) -> Option<Text> {
    if policy == PasswordPolicy::Basic {
        return None;
    }
    let folded = password.to_lowercase();
    if password.chars().all(char::is_numeric) {
        return Some(NUMERIC);
    }
    if COMMON.binary_search(&folded.as_str()).is_ok() {
        return Some(WIDELY_USED);
    }
    let local = owner.email.split('@').next().unwrap_or("");
    let names = [owner.username, local, owner.first_name, owner.last_name];
    if names.iter().any(|name| similar(&folded, &name.to_lowercase())) {
        return Some(SIMILAR);
    }
    let mut distinct: Vec<char> = folded.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    (distinct.len() < 3).then_some(WEAK)
}

/// The fault of a new password that equals the old one.
pub fn unchanged() -> Text {
    UNCHANGED
}

fn similar(password: &str, name: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (password.chars().collect(), name.chars().collect());
    if b.len() < 3 {
        return false;
    }
    if password.contains(name) || name.contains(password) {
        return true;
    }
    let total = a.len() + b.len();
    2.0 * common_subsequence(&a, &b) as f64 / total as f64 >= SIMILARITY
}

/// Length of the longest common subsequence.
fn common_subsequence(a: &[char], b: &[char]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (i, y) in b.iter().enumerate() {
            let above = row[i + 1];
            row[i + 1] = if x == y { diagonal + 1 } else { above.max(row[i]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use yunque_kernel::auth::UserType;

    use super::*;

    fn caller(id: i64, is_staff: bool) -> Caller {
        Caller {
            user_id: UserId(id),
            username: "x".into(),
            is_staff,
            user_type: if is_staff {
                UserType::Admin
            } else {
                UserType::Customer
            },
            session: None,
            key: None,
        }
    }

    #[test]
    fn others_accounts_are_hidden_from_everybody_but_admins() {
        assert_eq!(see_account(&caller(1, false), UserId(1)), Ok(()));
        assert_eq!(see_account(&caller(1, false), UserId(2)), Err(Denied::Hidden));
        assert_eq!(see_account(&caller(1, true), UserId(2)), Ok(()));
        assert_eq!(list_accounts(&caller(1, false)), Err(Denied::Refused));
        assert_eq!(list_accounts(&caller(1, true)), Ok(()));
    }

    #[test]
    fn the_list_of_common_passwords_is_sorted_and_long_enough() {
        assert!(COMMON.is_sorted());
        assert!(COMMON.len() > 3000);
    }

    #[test]
    fn the_strict_policy_knows_common_numeric_and_similar_passwords() {
        let owner = PasswordOwner {
            username: "zhangsan",
            email: "san.zhang@example.com",
            first_name: "San",
            last_name: "Zhang",
        };
        let strict = |password| weakness(PasswordPolicy::Strict, password, owner);
        assert_eq!(strict("93847561028"), Some(NUMERIC));
        assert_eq!(strict("Password123"), Some(WIDELY_USED));
        for near in [
            "zhangsan1",
            "ZhangSan-x",
            "1zhangsan!",
            "san.zhang9",
            "zhang-pass",
        ] {
            assert_eq!(strict(near), Some(SIMILAR), "{near}");
        }
        assert_eq!(strict("abababab"), Some(WEAK));
        assert_eq!(strict("correct horse battery"), None);
        assert_eq!(strict("正确的马电池订书机"), None);
        assert_eq!(weakness(PasswordPolicy::Basic, "password", owner), None);
    }
}
