//! Chinese by default, English on request.

use std::borrow::Cow;

/// The language of one response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    #[default]
    Zh,
    En,
}

impl Lang {
    /// Picks the language from an `Accept-Language` value: the best match of `en*` gives English,
    /// everything else Chinese. On equal weights the earlier entry wins.
    pub fn negotiate(accept_language: &str) -> Self {
        let mut best = (0.0_f32, Lang::Zh);
        for entry in accept_language.split(',') {
            let mut parts = entry.split(';');
            let tag = parts.next().unwrap_or("").trim().to_ascii_lowercase();
            let weight = parts
                .find_map(|p| p.trim().strip_prefix("q="))
                .map_or(Some(1.0), |q| q.trim().parse().ok())
                .filter(|q| (0.0..=1.0).contains(q))
                .unwrap_or(0.0);
            let lang = match tag.split('-').next() {
                Some("en") => Lang::En,
                Some("zh" | "*") => Lang::Zh,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, lang);
            }
        }
        best.1
    }

    /// The value of `Content-Language`.
    pub fn tag(self) -> &'static str {
        match self {
            Lang::Zh => "zh",
            Lang::En => "en",
        }
    }
}

/// A client-visible text in both languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub zh: Cow<'static, str>,
    pub en: Cow<'static, str>,
}

impl Text {
    pub const fn fixed(zh: &'static str, en: &'static str) -> Self {
        Text {
            zh: Cow::Borrowed(zh),
            en: Cow::Borrowed(en),
        }
    }

    pub fn owned(zh: String, en: String) -> Self {
        Text {
            zh: Cow::Owned(zh),
            en: Cow::Owned(en),
        }
    }

    pub fn get(&self, lang: Lang) -> &str {
        match lang {
            Lang::Zh => &self.zh,
            Lang::En => &self.en,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lang;

    #[test]
    fn english_only_when_it_is_the_best_match() {
        for (header, want) in [
            ("", Lang::Zh),
            ("en", Lang::En),
            ("en-GB,zh;q=0.8", Lang::En),
            ("zh-CN,zh;q=0.9,en;q=0.8", Lang::Zh),
            ("zh;q=0.2, en-US;q=0.7", Lang::En),
            ("fr, en;q=0.5", Lang::En),
            ("de", Lang::Zh),
            ("en;q=0", Lang::Zh),
            ("en;q=nonsense", Lang::Zh),
        ] {
            assert_eq!(Lang::negotiate(header), want, "{header}");
        }
    }
}
