//! The strict reader against hostile and honest documents.

use poem_openapi::{Enum, Object, Union};
use serde_json::{Value, json};

use super::*;
use crate::error::Lang;

#[derive(Debug, PartialEq, Enum)]
#[oai(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, PartialEq, Object)]
struct BodyTestInner {
    #[oai(validator(max_length = 3))]
    tag: String,
}

#[derive(Debug, PartialEq, Object)]
struct BodyTestItem {
    #[oai(validator(min_length = 1, max_length = 5))]
    name: String,
    size: i64,
    colour: Option<Colour>,
    inner: Option<BodyTestInner>,
    #[oai(validator(max_items = 2))]
    ids: Option<Vec<i64>>,
    secret: Option<poem_openapi::types::Password>,
    #[oai(default)]
    count: u32,
    meta: Option<poem_openapi::types::Any<Value>>,
}

/// A text with a format of its own, as domains write them.
#[derive(Debug)]
struct Mail(String);

impl Mail {
    fn as_str(&self) -> &str {
        &self.0
    }
}

crate::text_type!(Mail, Some("test-mail"), None, 1000, |text| Ok(Mail(text)), as_str);

#[derive(Debug, Union)]
#[oai(one_of)]
enum BodyTestBatch {
    One(BodyTestItem),
    Many(Vec<BodyTestItem>),
}

fn faults<T: ParseFromJSON + std::fmt::Debug + 'static>(body: Value) -> Value {
    let error = from_json::<T>(body.to_string().as_bytes()).expect_err("refused");
    error.body(Lang::Zh, "r")["errors"].clone()
}

#[test]
fn every_fault_is_reported_at_once() {
    let body = json!({
        "name": "  ", "size": 1.0, "colour": "blue", "inner": {"tag": "long"}, "ids": [1, "2", 3], "secret": 7,
        "count": -1, "unknown": {"a": "\u{0}"},
    });
    let expected = json!({
        "name": ["该字段不能为空"], "size": ["类型错误"], "colour": ["无效的选项"],
        "inner.tag": ["长度不能超过 3 个字符"], "ids": ["不能超过 2 项"], "secret": ["类型错误"],
        "count": ["数值超出范围"],
    });
    assert_eq!(faults::<BodyTestItem>(body), expected);
    assert_eq!(
        faults::<BodyTestItem>(json!({})),
        json!({"name": ["该字段是必填项"], "size": ["该字段是必填项"]})
    );
    assert_eq!(
        faults::<BodyTestItem>(json!({"name": null, "size": "1", "ids": ["x"]})),
        json!({"name": ["该字段不能为空"], "size": ["类型错误"], "ids": ["类型错误"]})
    );
}

#[test]
fn strings_are_cleaned_and_passwords_are_not() {
    let item: BodyTestItem = from_json(
        r#"{"name":" 名\r\n字 ","size":9007199254740993,"secret":" p ","count":null,"size":3,"extra":1}"#
            .as_bytes(),
    )
    .expect("valid");
    assert_eq!((item.name.as_str(), item.size, item.count), ("名\n字", 3, 0));
    assert_eq!(item.secret.expect("given").0, " p ");
    for control in ["\\u0000", "\\u001b", "\\u0008"] {
        let body =
            format!(r#"{{"name":"a{control}","size":1,"secret":"{control}","meta":{{"k":["{control}"]}}}}"#);
        let error = from_json::<BodyTestItem>(body.as_bytes()).expect_err("refused");
        assert_eq!(error.faults.iter().count(), 3, "{control}");
    }
}

#[test]
fn integers_are_whole_and_in_range() {
    for (number, fault) in [
        ("1.0", "类型错误"),
        ("1e2", "类型错误"),
        ("1e400", "类型错误"),
        ("-0.0", "类型错误"),
        ("true", "类型错误"),
        ("9223372036854775808", "数值超出范围"),
        ("18446744073709551616", "类型错误"),
        ("\"1\"", "类型错误"),
    ] {
        let body = format!(r#"{{"name":"a","size":{number}}}"#);
        let error = from_json::<BodyTestItem>(body.as_bytes()).expect_err("refused");
        assert_eq!(
            error.body(Lang::Zh, "")["errors"],
            json!({"size": [fault]}),
            "{number}"
        );
    }
    let huge = format!(r#"{{"name":"a","size":{}}}"#, "9".repeat(400));
    assert_eq!(
        from_json::<BodyTestItem>(huge.as_bytes())
            .expect_err("refused")
            .code,
        "validation_error"
    );
}

#[test]
fn batches_name_the_item() {
    let one: BodyTestBatch = from_json(br#"{"name":"a","size":1}"#).expect("one");
    assert!(matches!(one, BodyTestBatch::One(_)));
    let many: BodyTestBatch = from_json(br#"[{"name":"a","size":1}]"#).expect("many");
    assert!(matches!(many, BodyTestBatch::Many(items) if items.len() == 1));
    assert_eq!(
        faults::<BodyTestBatch>(json!([{"name": "a", "size": 1}, {"name": 1}, 5])),
        json!({"1.name": ["类型错误"], "1.size": ["该字段是必填项"], "2": ["类型错误"]})
    );
    assert_eq!(
        faults::<BodyTestBatch>(json!({"name": 1})),
        json!({"name": ["类型错误"], "size": ["该字段是必填项"]})
    );
}

#[test]
fn only_objects_stand_at_the_top() {
    for body in ["null", "1", "\"a\"", "[]", "true"] {
        assert_eq!(
            from_json::<BodyTestItem>(body.as_bytes()).expect_err(body).code,
            "parse_error"
        );
    }
}

#[test]
fn registered_formats_are_checked_with_the_rest() {
    #[derive(Debug, Object)]
    struct BodyTestMail {
        #[oai(validator(max_length = 10))]
        other: String,
        mail: Mail,
    }
    fn check_mail(text: &str) -> Result<(), FormatFault> {
        let coded = FormatFault {
            text: crate::error::messages::BAD_EMAIL,
            code: Some("bad_mail"),
        };
        if is_email(text) { Ok(()) } else { Err(coded) }
    }
    register_format("test-mail", check_mail);

    let error = from_json::<BodyTestMail>(br#"{"mail":"nonsense"}"#).expect_err("refused");
    assert_eq!(
        error.body(Lang::Zh, "")["errors"],
        json!({"other": ["该字段是必填项"], "mail": ["邮箱格式不正确"]})
    );
    let first = from_json::<BodyTestMail>(br#"{"mail":"nonsense","other":"x"}"#).expect_err("refused");
    assert_eq!((error.code, first.code), ("validation_error", "bad_mail"));
    let good: BodyTestMail = from_json(br#"{"mail":" a@b.cn ","other":""}"#).expect("valid");
    assert_eq!((good.mail.0.as_str(), good.other.as_str()), ("a@b.cn", ""));
}

#[test]
fn forms_take_digits_for_numbers() {
    let shape = shape::shape_of::<BodyTestItem>();
    let form = form::to_json(shape, "name=%E5%90%8D&size=12&colour=red&count=&x=1".as_bytes());
    assert_eq!(
        form,
        json!({"name": "名", "size": 12, "colour": "red", "count": null})
    );
    assert_eq!(
        faults::<BodyTestItem>(form::to_json(shape, b"name=a&size=1.5")),
        json!({"size": ["类型错误"]})
    );
}

#[tokio::test]
async fn memory_for_bodies_is_shared_and_given_back() {
    use std::time::Duration;
    let memory = BodyMemory::new(1 << 20, Duration::from_millis(50));
    let install = || {
        let mut request = Request::builder()
            .header("content-length", "700000")
            .body(vec![b' '; 700_000]);
        let gate = BodyGate::install(&mut request, &memory, Duration::from_secs(5));
        (request, gate)
    };
    let (first, gate) = install();
    let (request, mut body) = first.split();
    let bytes = read::read(&request, &mut body, JSON_LIMIT, 1)
        .await
        .expect("room for one");
    assert_eq!(bytes.len(), 700_000);
    let (second, _) = install();
    let (other, mut body) = second.split();
    let full = read::read(&other, &mut body, JSON_LIMIT, 1)
        .await
        .expect_err("no room for two");
    assert_eq!((full.status, full.code), (503, "service_unavailable"));
    drop((request, gate));
    assert_eq!(memory.free_bytes(), 1 << 20);
}
