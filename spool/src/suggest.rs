//! What somebody may have meant by a name that does not exist.

/// The nearest of the known names, when it is near enough for a slip of the fingers.
pub fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.map(|name| (strsim::damerau_levenshtein(word, name), name)).min()?;
    (nearest.0 <= 1 + word.len() / 4).then_some(nearest.1)
}

/// A hint for a name that does not exist: the nearest of the known ones, or where all of them are shown.
pub fn hint<'a>(word: &str, known: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    suggest(word, known).map_or(otherwise.to_owned(), |near| format!("did you mean {near}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["hello", "orb-build"];
        for (word, meant) in
            [("hallo", Some("hello")), ("ehllo", Some("hello")), ("orb-biuld", Some("orb-build")), ("x", None)]
        {
            assert_eq!(suggest(word, known.into_iter()), meant, "{word}");
        }
    }
}
