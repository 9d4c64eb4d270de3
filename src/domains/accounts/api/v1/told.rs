//! What clients of the platform are told where the other surfaces use other words.

use yunque_kernel::error::{ApiError, Faults, Text};

use crate::error::{AccountsError, codes};

const USERNAME_TAKEN: Text = Text::fixed("用户名已存在", "Username is already taken.");
const EMAIL_TAKEN: Text = Text::fixed("邮箱已存在", "Email is already in use.");
const MISMATCH: Text = Text::fixed("两次密码输入不一致", "The two passwords differ.");

/// Uniqueness and passwords are faults of fields here, with `validation_error` as the code of the body.
pub(super) fn told(error: AccountsError) -> ApiError {
    let mut faults = Faults::new();
    match error {
        AccountsError::Taken { username, email } => {
            if username {
                faults.add_coded_text("username", codes::USERNAME_TAKEN.code, USERNAME_TAKEN);
            }
            if email {
                faults.add_coded_text("email", codes::EMAIL_TAKEN.code, EMAIL_TAKEN);
            }
        }
        AccountsError::WrongPassword { field } => faults.add_coded(field, &codes::PASSWORD_INCORRECT),
        AccountsError::PasswordMismatch => {
            faults.add_coded_text("new_password_confirm", codes::PASSWORD_MISMATCH.code, MISMATCH);
        }
        other => return other.into(),
    }
    faults.into_error()
}

#[cfg(test)]
mod tests {
    use yunque_kernel::Lang;

    use super::*;

    #[test]
    fn both_names_taken_are_faults_of_their_fields() {
        let body = told(AccountsError::Taken {
            username: true,
            email: true,
        })
        .body(Lang::En, "r");
        assert_eq!(body["code"], "validation_error");
        assert_eq!(body["errors"]["username"][0], "Username is already taken.");
        assert_eq!(body["errors"]["email"][0], "Email is already in use.");
    }

    #[test]
    fn a_wrong_password_is_a_fault_of_its_field() {
        let body = told(AccountsError::WrongPassword {
            field: "old_password",
        })
        .body(Lang::Zh, "r");
        assert_eq!(body["code"], "validation_error");
        assert_eq!(body["errors"]["old_password"][0], "当前密码有误");
    }
}
