//! How a browser treats a download, and how its file name is written into a header.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 5987 lets stand unescaped in `filename*` (`attr-char`), less `%` and the quotes.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Shown in the page, or saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    Inline,
    Attachment,
}

impl Disposition {
    /// Images, audio, video and PDF may be shown; everything else is saved (contract "cloud" 3.8).
    ///
    /// SVG is saved as well: it is an image by name, but it runs scripts in the origin that serves
    /// it, and the type is what the uploader declared. So is a list of types: browsers take the last.
    pub fn for_content_type(content_type: &str) -> Self {
        if content_type.contains(',') {
            return Disposition::Attachment;
        }
        let essence = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/').unwrap_or_default();
        match (kind, subtype) {
            ("image", subtype) if subtype.starts_with("svg") => Disposition::Attachment,
            ("image" | "audio" | "video", _) | ("application", "pdf") => Disposition::Inline,
            _ => Disposition::Attachment,
        }
    }

    /// The header that goes with the object; none for what may be shown.
    pub fn header(self, file_name: &str) -> Option<String> {
        match self {
            Disposition::Inline => None,
            Disposition::Attachment => Some(attachment(file_name)),
        }
    }
}

/// `attachment; filename*=UTF-8''…`, pure ASCII, safe for any name.
pub fn attachment(file_name: &str) -> String {
    let name: String = file_name.chars().filter(|c| !c.is_control()).collect();
    format!(
        "attachment; filename*=UTF-8''{}",
        utf8_percent_encode(&name, ATTR_CHAR)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_cannot_break_the_header() {
        assert_eq!(attachment("a.txt"), "attachment; filename*=UTF-8''a.txt");
        assert_eq!(
            attachment("报告 1.pdf"),
            "attachment; filename*=UTF-8''%E6%8A%A5%E5%91%8A%201.pdf"
        );
        assert_eq!(
            attachment("a\"; x=\r\n'y'/%.z"),
            "attachment; filename*=UTF-8''a%22%3B%20x%3D%27y%27%2F%25.z"
        );
    }

    #[test]
    fn only_harmless_media_is_shown() {
        let inline = |t: &str| Disposition::for_content_type(t) == Disposition::Inline;
        assert!(
            inline("image/png")
                && inline("Video/MP4")
                && inline("audio/mpeg; rate=1")
                && inline("application/pdf")
        );
        assert!(
            !inline("text/html")
                && !inline("image/svg+xml")
                && !inline("application/octet-stream")
                && !inline("image/png; a=b, text/html")
                && !inline("image/png,text/html")
                && !inline("")
        );
    }
}
