//! The secrets of one build: files for the script, and a mask over what it prints.

use super::place::Room;
use spool::error::Result;
use spool::name::SecretName;

/// What stands in the console for a secret.
const MASKED: &[u8] = b"***";

/// Shorter lines are not masked: they stand in everything.
const SHORTEST: usize = 4;

/// What the server sent for the next build.
#[derive(Default)]
pub struct Secrets {
    list: Vec<(SecretName, Vec<u8>)>,
}

impl Secrets {
    /// Notes one.
    pub fn add(&mut self, name: SecretName, content: Vec<u8>) {
        self.list.push((name, content));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Puts them where the script finds them.
    pub fn write_into(&self, room: &Room) -> Result<()> {
        self.list.iter().try_for_each(|(name, content)| room.add_secret(name, content))
    }

    /// A mask over each line of each of them.
    pub fn mask(&self) -> Mask {
        let lines = self.list.iter().flat_map(|(_, content)| content.split(|byte| *byte == b'\n'));
        let trimmed = lines.map(<[u8]>::trim_ascii).filter(|line| line.len() >= SHORTEST);
        let mut words: Vec<Vec<u8>> = trimmed.map(<[u8]>::to_vec).collect();
        // The longest first: one may be a part of another.
        words.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        words.dedup();
        Mask { words, held_back: Vec::new() }
    }
}

/// Replaces secrets in a stream of bytes, however it is cut into pieces.
///
/// It knows a secret as it stands in its file. One that is printed in another form, as base64 or a letter a line,
/// passes.
pub struct Mask {
    words: Vec<Vec<u8>>,
    /// The end of what came, when it may be the beginning of a secret.
    held_back: Vec<u8>,
}

impl Mask {
    /// What can be shown after this piece has come.
    pub fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.words.is_empty() {
            return piece.to_vec();
        }
        let mut text = std::mem::take(&mut self.held_back);
        text.extend_from_slice(piece);
        let mut shown = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            if self.words.iter().any(|word| word.len() > rest.len() && word.starts_with(rest)) {
                self.held_back = rest.to_vec();
                break;
            }
            match self.words.iter().find(|word| rest.starts_with(word)) {
                Some(word) => {
                    shown.extend_from_slice(MASKED);
                    at += word.len();
                }
                None => {
                    shown.push(text[at]);
                    at += 1;
                }
            }
        }
        shown
    }

    /// What was held back, once nothing more comes. It was no secret, only the beginning of one.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.held_back);
        // A short secret may stand within the beginning of a long one.
        let mut words = self.words.clone();
        words.retain(|word| word.len() <= text.len());
        if !words.is_empty() {
            text = Mask { words, held_back: Vec::new() }.finish(&text);
        }
        text
    }

    fn finish(mut self, text: &[u8]) -> Vec<u8> {
        let mut shown = self.pass(text);
        while !self.held_back.is_empty() {
            let held = std::mem::take(&mut self.held_back);
            shown.push(held[0]);
            shown.extend(self.pass(&held[1..]));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], pieces: &[&str]) -> String {
        let mut all = Secrets::default();
        for (n, secret) in secrets.iter().enumerate() {
            all.add(format!("s{n}").parse().unwrap(), secret.as_bytes().to_vec());
        }
        let mut mask = all.mask();
        let mut shown: Vec<u8> = pieces.iter().flat_map(|piece| mask.pass(piece.as_bytes())).collect();
        shown.extend(mask.rest());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_secret_is_masked_however_it_comes() {
        assert_eq!(masked(&["s3cret\n"], &["a s3cret b s3cret"]), "a *** b ***");
        assert_eq!(masked(&["s3cret"], &["a s3", "c", "ret b"]), "a *** b");
        assert_eq!(masked(&["s3cret"], &["s3s3cret s3cre"]), "s3*** s3cre");
        assert_eq!(masked(&["secret", "secretary"], &["secret", "ary secret"]), "*** ***");
        assert_eq!(masked(&["BEGIN\nline one\nline two\n"], &["x line two\nBEGIN"]), "x ***\n***");
        assert_eq!(masked(&["abc"], &["abc"]), "abc", "too short to tell");
        assert_eq!(masked(&["secretary", "secr"], &["a secre"]), "a ***e", "the beginning of one may hold another");
        assert_eq!(masked(&[], &["any", "thing"]), "anything");
    }
}
