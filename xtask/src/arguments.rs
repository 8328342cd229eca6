//! The words after a verb: options with and without a value, and the rest.

use crate::Outcome;
use std::str::FromStr;

/// Words that are taken one by one; what is left at the end is an error.
pub struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    /// All words after the verb; `--name=value` counts as two.
    pub fn new(words: Vec<String>) -> Outcome<Self> {
        let mut split = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    split.extend([name.to_owned(), value.to_owned()]);
                }
                _ => split.push(word),
            }
        }
        Ok(Self { words: split })
    }

    /// Whether an option without a value is given.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() != before
    }

    /// The value of an option, if it is given.
    pub fn value(&mut self, name: &str) -> Outcome<Option<String>> {
        let Some(index) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        self.words.remove(index);
        if index == self.words.len() {
            return Err(format!("{name} needs a value"));
        }
        Ok(Some(self.words.remove(index)))
    }

    /// The value of an option as a number or whatever else can be read from text.
    pub fn parsed<T: FromStr>(&mut self, name: &str) -> Outcome<Option<T>> {
        match self.value(name)? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("{name} cannot be {text:?}")),
        }
    }

    /// The words of a list such as `a,b`; empty if the option is not given.
    pub fn list(&mut self, name: &str) -> Outcome<Vec<String>> {
        let text = self.value(name)?.unwrap_or_default();
        Ok(text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    /// Words that are no options; an option nobody asked for is an error.
    pub fn rest(self) -> Outcome<Vec<String>> {
        match self.words.iter().find(|word| word.starts_with("--")) {
            Some(option) => Err(format!("no such option: {option}")),
            None => Ok(self.words),
        }
    }

    /// Nothing may be left.
    pub fn end(self) -> Outcome<()> {
        match self.rest()?.first() {
            Some(word) => Err(format!("what is {word:?}?")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn words(text: &str) -> Arguments {
        Arguments::new(text.split_whitespace().map(str::to_owned).collect()).unwrap()
    }

    #[test]
    fn options_values_and_the_rest() {
        let mut arguments = words("--seed=7 one --quick --only a,b two");
        assert_eq!(arguments.parsed::<u64>("--seed"), Ok(Some(7)));
        assert!(arguments.flag("--quick"));
        assert!(!arguments.flag("--quick"));
        assert_eq!(arguments.list("--only"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(arguments.rest(), Ok(vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(words("--seed").value("--seed"), Err("--seed needs a value".to_owned()));
        assert_eq!(words("--seed x").parsed::<u64>("--seed"), Err("--seed cannot be \"x\"".to_owned()));
        assert_eq!(words("--sed 1").rest(), Err("no such option: --sed".to_owned()));
        assert_eq!(words("more").end(), Err("what is \"more\"?".to_owned()));
    }
}
