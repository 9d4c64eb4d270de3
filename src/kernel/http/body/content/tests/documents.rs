//! Every kind of document, cut everywhere.

use super::*;

fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, long: usize) -> Outcome {
    let mut kept = Kept::default();
    let mut scanner = Scanner::new(shape::shape_of::<ScanBatch>(), long);
    for piece in pieces {
        scanner.feed(piece, &mut kept).expect("no limit is reached");
    }
    let result = match scanner.finish() {
        None => Err(common::PARSE_ERROR.into()),
        Some((document, mark)) => {
            json::parse(&document).and_then(|parsed| checked::<ScanBatch>(parsed, Some(&mark)))
        }
    };
    outcome(result, &kept)
}

#[track_caller]
fn same_in_pieces(document: &[u8], every_cut: bool) {
    let expected = whole(document);
    let shown = String::from_utf8_lossy(&document[..document.len().min(300)]).into_owned();
    for long in [8, 30] {
        assert_eq!(in_pieces([document], long), expected, "{shown}");
        assert_eq!(
            in_pieces(document.chunks(1), long),
            expected,
            "{shown} one by one"
        );
        assert_eq!(in_pieces(document.chunks(7), long), expected, "{shown} by sevens");
        if !every_cut {
            continue;
        }
        for cut in 0..document.len() {
            let (first, second) = document.split_at(cut);
            assert_eq!(in_pieces([first, second], long), expected, "{shown} at {cut}");
        }
    }
}

fn documents() -> Vec<Vec<u8>> {
    let long = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=";
    let deep = |n: usize| {
        let (open, close) = ("[".repeat(n), "]".repeat(n));
        format!(r#"{{"size":1,"x":{open}"{long}"{close},"file_content":"{long}"}}"#)
    };
    let mut texts: Vec<String> = [
        r#"{"name":"a","size":1,"file_content":"LONG"}"#,
        r#"{"name":"a","size":1,"file_content":"short"}"#,
        r#"{"name":"a","size":1,"file_content":"","parts":[]}"#,
        " \r\n{ \"size\" : 1 ,\t\"file_content\"  : \"LONG\" } \n\n ",
        r#"{"size":1,"file_content":"\/a\/b\nc\r\nd\te\\\"\u0041\u00e9\u6587\ud83d\ude00\uD83D\uDE00 LONG"}"#,
        r#"{"size":1,"file_content":"é文😀 LONG 😀文é"}"#,
        r#"{"size":1,"file_content":"   LONG \u3000 "}"#,
        r#"{"size":1,"file\u005fcontent":"LONG"}"#,
        r#"{"size":1,"\u0066\u0069\u006c\u0065\u005f\u0063\u006f\u006e\u0074\u0065\u006e\u0074":"LONG"}"#,
        r#"{"size":1,"file_content ":"LONG","file_contents":"LONG","":"LONG","FILE_CONTENT":"LONG"}"#,
        // Of the same name the last one counts.
        r#"{"size":1,"file_content":"first LONG","file_content":"LONG"}"#,
        r#"{"size":1,"file_content":"first LONG","file_content":"short"}"#,
        r#"{"size":1,"file_content":"first LONG","file_content":null}"#,
        r#"{"size":1,"file_content":"first LONG","file_content":5}"#,
        r#"{"size":1,"file_content":"LONG","file\u005fcontent":"a","file_content":"second LONG","size":2}"#,
        // Places where it is no content.
        r#"{"size":1,"x":{"file_content":"LONG"},"y":[{"file_content":"LONG"}],"file_content":"LONG"}"#,
        r#"{"size":1,"name":"LONG"}"#,
        r#"{"size":1,"name":"a","file_content":["LONG"]}"#,
        r#"{"size":1,"file_content":{"file_content":"LONG"}}"#,
        r#"{"size":"LONG","file_content":7}"#,
        r#"["LONG"]"#,
        r#""LONG""#,
        r#"[["LONG"],{"size":1,"file_content":"LONG"}]"#,
        // Places where it is one.
        r#"{"size":1,"parts":["LONG","short","LONG",5,"LONG"]}"#,
        r#"{"size":1,"parts":["LONG","short","LONG"],"parts":["LONG"]}"#,
        r#"{"size":1,"inner_in_a_field_with_a_long_name":[{"file_content":"LONG"},{"file_content":"LONG"}]}"#,
        r#"{"size":1,"inner_in_a_field_with_a_long_name":[{"file_content":"LONG","file_content":"x"},{}]}"#,
        r#"[{"size":1,"file_content":"LONG"},{"size":2},{"size":3,"file_content":"third LONG"}]"#,
        r#"[{"size":1,"file_content":"LONG"},{"size":"2","file_content":"LONG"},5,{"name":"LONG","size":1}]"#,
        // Texts that look like what stands for a content.
        r#"{"size":1,"file_content":"\u0001LONG:0"}"#,
        r#"{"size":1,"file_content":"\u00010:0"}"#,
        r#"[{"size":1,"file_content":"LONG"},{"size":1,"file_content":"\u0001:0"}]"#,
        r#"{"size":1,"name":"\u0001","file_content":"LONG"}"#,
        // Characters that no text may have.
        r#"{"size":1,"file_content":"LONG\u0000LONG"}"#,
        r#"{"size":1,"file_content":"\bLONG"}"#,
        r#"[{"size":1,"file_content":"LONG\f"},{"size":"x","file_content":"LONG"},{}]"#,
        r#"{"size":1,"parts":["LONG\u001f","LONG"]}"#,
        // No JSON.
        r#"{"size":1,"file_content":"LONG"#,
        r#"{"size":1,"file_content":"LONG\"#,
        r#"{"size":1,"file_content":"LONG\""#,
        r#"{"size":1,"file_content":"LONG\u00"#,
        r#"{"size":1,"file_content":"LONG"},"#,
        r#"{"size":1,"file_content":"LONG"}}"#,
        r#"{"size":1,"file_content":"LONG"} {}"#,
        r#"{"size":1,"file_content":"LONG",}"#,
        r#"{"size":1,"file_content" "LONG"}"#,
        r#"{"size":1,"file_content":"LONG""LONG"}"#,
        r#"{"size":1,"file_content":tr "LONG"}"#,
        r#"{"size":1 2,"file_content":"LONG"}"#,
        r#"["size":1,"file_content":"LONG"]"#,
        r#"{"size":1,"file_content":"LONG"]"#,
        r#"{{"file_content":"LONG"}}"#,
        r#"]}{"size":1,"file_content":"LONG"}"#,
        r#"{"size":1,"file_content":"LONG\x41"}"#,
        r#"{"size":1,"file_content":"LONG\u00g0"}"#,
        r#"{"size":1,"file_content":"LONG\ud800"}"#,
        r#"{"size":1,"file_content":"LONG\ud800\n"}"#,
        r#"{"size":1,"file_content":"LONG\ud800\u0041"}"#,
        r#"{"size":1,"file_content":"LONG\ud800\ud800"}"#,
        r#"{"size":1,"file_content":"LONG\udc00\ud800"}"#,
        "{\"size\":1,\"file_content\":\"LONG\nLONG\"}",
        "{\"size\":1,\"file_content\":\"LONG\u{0}LONG\"}",
        "{\"size\":1,\"file_content\":\"LONG\t\"}",
        "\u{feff}{\"size\":1,\"file_content\":\"LONG\"}",
        "{\"size\":1,\u{c}\"file_content\":\"LONG\"}",
        "",
        " \n ",
        "{",
        "\"",
        r#"{"size":1e400,"file_content":"LONG"}"#,
        r#"{"size":99999999999999999999,"x":-1e999,"file_content":"1e400 LONG"}"#,
    ]
    .map(|text| text.replace("LONG", long))
    .into();
    texts.extend([deep(31), deep(32), deep(200)]);
    texts.push(format!(
        r#"{{"size":1,"{}":1,"file_content":"{long}"}}"#,
        "k".repeat(300)
    ));
    texts.push(format!(
        r#"{{"size":1,"\u006{}":1,"file_content":"{long}"}}"#,
        "6".repeat(600)
    ));
    let mut all: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    // No UTF-8, or half of a character at some edge.
    for bad in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xe6\x96",
        b"\xe6",
        b"\xf0\x9f\x98\\u0041",
        b"\xe6\\n\x96\x87",
        b"\x80",
    ] {
        for text in [&b"QUJDREVGR0hJSktMTU5PUA"[..], b""] {
            let parts: [&[u8]; 5] = [b"{\"size\":1,\"file_content\":\"", text, bad, text, b"\"}"];
            all.push(parts.concat());
        }
    }
    all
}

#[test]
fn every_document_is_the_same_however_it_is_cut() {
    for document in documents() {
        same_in_pieces(&document, true);
    }
}

/// Documents with something added, removed or changed, so that most are broken somewhere.
#[test]
fn broken_documents_are_the_same_however_they_are_cut() {
    let documents = documents();
    let parts: [&[u8]; 18] = [
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"\\u0000",
        b"\\ud83d",
        b"\\ude00",
        b"null",
        b"1",
        b"\"file_content\":",
        b"\xe6",
        b"\xff",
        b"\n",
    ];
    let mut state = 11_u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for _ in 0..20_000 {
        let mut document = documents[next(documents.len())].clone();
        if document.len() > 400 {
            continue;
        }
        for _ in 0..=next(2) {
            let at = next(document.len() + 1);
            let end = (at + next(4)).min(document.len());
            let part = parts[next(parts.len())];
            document.splice(at..end, part.iter().copied());
        }
        same_in_pieces(&document, false);
    }
}
