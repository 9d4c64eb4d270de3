use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

fn terms(text: &str) -> Vec<(String, bool)> {
    Needle::of(text).map(|needle| needle.terms).unwrap_or_default()
}

/// Whether an index that holds the grams of `text` would give it for `needle`.
fn is_candidate(text: &str, needle: &Needle) -> bool {
    let grams = grams(text);
    let has = |(term, is_prefix): &(String, bool)| {
        grams.split(' ').any(|gram| match is_prefix {
            true => gram.starts_with(term.as_str()),
            false => gram == term,
        })
    };
    needle.terms.iter().all(has)
}

#[test]
fn letters_are_cut_in_threes_and_signs_in_twos() {
    assert_eq!(grams("Tea, tea"), "xea xtea");
    assert_eq!(grams("I am 5"), "xam");
    let signs = grams("乌龙茶");
    assert_eq!(signs.split(' ').count(), 3, "{signs}");
    assert!(
        signs.split(' ').all(|gram| gram.len() == 6 || gram.len() == 11),
        "{signs}"
    );
    assert_eq!(grams(" ,.!?%_'\"*+-() "), "");
    assert_eq!(grams(""), "");
    // Each script has runs of its own.
    assert_eq!(grams("Rust语言"), format!("xrus xst xust {}", grams("语言")));
}

#[test]
fn grams_are_safe_in_every_index() {
    let text = "the AND about NEAR(x) zoo é ß Ω 한국어 ไทย 😀👍🏽 \u{202e}\0 x* +y -z \"q\" 'r' !:&|<->";
    for gram in grams(text).split(' ') {
        assert!((3..=16).contains(&gram.len()), "{gram}");
        assert!(gram.starts_with('x'), "{gram}");
        assert!(gram.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9')), "{gram}");
    }
}

#[test]
fn what_is_written_can_be_read_from_its_beginning() {
    assert_eq!(encoded(&['a', 'z', '9']), "xazz9");
    let mut all: Vec<String> = (0..=u32::from(char::MAX))
        .step_by(7)
        .filter_map(char::from_u32)
        .filter(|c| !c.is_ascii_uppercase())
        .map(|c| encoded(&[c]))
        .collect();
    all.sort();
    for pair in all.windows(2) {
        assert!(!pair[1].starts_with(&pair[0]), "{pair:?}");
    }
}

#[test]
fn folding_is_the_same_for_all_forms_of_a_letter() {
    for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
        let folded = fold(c);
        assert_eq!(fold(folded), folded, "{c:?}");
        assert_eq!(fold(lower(c)), folded, "{c:?}");
        for form in forms(c) {
            assert_eq!(fold(form), folded, "{c:?} {form:?}");
        }
    }
    assert_eq!(forms('Σ'), BTreeSet::from(['Σ', 'σ']));
    assert_eq!(forms('ς'), BTreeSet::from(['Σ', 'σ', 'ς']));
}

#[test]
fn a_needle_asks_for_as_little_as_it_can() {
    assert_eq!(
        terms("HELLO"),
        [("xhel".to_owned(), false), ("xllo".to_owned(), false)]
    );
    assert_eq!(terms("ok"), [("xok".to_owned(), true)]);
    assert_eq!(
        terms("ok then"),
        [("xhen".to_owned(), false), ("xthe".to_owned(), false)]
    );
    let [(one, is_prefix)] = &terms("茶")[..] else {
        panic!("one")
    };
    assert!(*is_prefix && one.len() == 6, "{one}");
    assert_eq!(terms("a 茶")[..], [(one.clone(), true)]);
    for nothing in ["a", "7", "%", "_", "*", "-", "\"", "a-b", "。", " ", "", "é"] {
        assert_eq!(Needle::of(nothing), None, "{nothing}");
    }
    assert!(terms(&"乌龙茶很好喝今天".repeat(12)).len() <= MOST_GRAMS);
    assert!(terms(&"字母".repeat(50)).len() <= MOST_GRAMS);
}

#[test]
fn whatever_contains_a_text_is_found() {
    let alphabet: Vec<char> = "aAbBzZ09 -_%é É ßſKk σςΣ茶龙乌云雀，。ไทย한국😀\u{fe0f}ёЁ"
        .chars()
        .collect();
    let mut random = StdRng::seed_from_u64(9);
    for _ in 0..20_000 {
        let len = random.random_range(1..24);
        let text: Vec<char> = (0..len)
            .map(|_| *alphabet.choose(&mut random).expect("some"))
            .collect();
        let from = random.random_range(0..len);
        let to = random.random_range(from + 1..=len);
        let change = |c: &char| {
            *Vec::from_iter(forms(*c))
                .choose(&mut random.clone())
                .expect("some")
        };
        let part: String = text[from..to].iter().map(change).collect();
        let text: String = text.iter().collect();
        if let Some(needle) = Needle::of(&part) {
            assert!(is_candidate(&text, &needle), "{part:?} in {text:?}: {needle:?}");
        }
    }
}

#[test]
fn what_has_other_letters_is_not_found() {
    let found = |text: &str, part: &str| is_candidate(text, &Needle::of(part).expect("grams"));
    assert!(found("say hello", "ell"));
    assert!(found("今天有乌龙茶", "茶"));
    assert!(!found("help", "hello"));
    assert!(!found("今天天气", "气今"));
    assert!(!found("book", "kb"));
}
