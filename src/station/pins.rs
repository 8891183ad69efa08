//! Whose PIN a text is. The slow part of it runs on a thread of its own; how many wrong ones are borne is the core's to say.

use crate::{
    keys::pin::PinHash,
    model::Secret,
    store::{EngineersError, EngineersFile},
};

/// The PINs of the engineers. The file is read each time: a PIN that was set or taken away counts at once.
#[derive(Clone, Debug, Default)]
pub struct Pins(Option<EngineersFile>);

impl Pins {
    /// The PINs in a file.
    pub fn new(file: EngineersFile) -> Self {
        Self(Some(file))
    }

    /// True if there is at least one.
    ///
    /// # Errors
    /// If the file says nothing that can be relied on: nobody is an engineer then.
    pub fn exist(&self) -> Result<bool, EngineersError> {
        Ok(!self.read()?.is_empty())
    }

    /// Whose PIN this is: a name, a space and a PIN; or a PIN alone, where there is one engineer.
    pub(super) fn whose(&self, text: &Secret<String>) -> Option<String> {
        let all = self.read().ok()?;
        let text = text.expose().trim();
        let (name, pin) = match (text.rsplit_once(' '), all.as_slice()) {
            (Some((name, pin)), _) => (name.trim(), pin),
            (None, [(name, _)]) => (name.as_str(), text),
            (None, _) => return None,
        };
        let (name, hash) = all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        PinHash::parse(hash).is_ok_and(|hash| hash.is_of(pin)).then(|| name.clone())
    }

    fn read(&self) -> Result<Vec<(String, String)>, EngineersError> {
        self.0.as_ref().map_or(Ok(Vec::new()), EngineersFile::read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_that_of_the_engineer_who_is_named_or_of_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = EngineersFile::new(dir.path().join("engineers"));
        let pins = Pins::new(file.clone());
        let hash = |pin| PinHash::new(pin, [3; 16]).unwrap().to_string();
        let whose = |text: &str| pins.whose(&Secret::new(text.to_owned()));
        assert!(!pins.exist().unwrap());
        assert_eq!(whose("271828"), None);
        let eva = ("Eva M.".to_owned(), hash("271828"));
        file.write(std::slice::from_ref(&eva)).unwrap();
        assert_eq!(whose("271828").as_deref(), Some("Eva M."));
        assert_eq!(whose("eva m. 271828").as_deref(), Some("Eva M."));
        assert_eq!(whose("ada 271828"), None);
        file.write(&[eva, ("ada".to_owned(), hash("314159"))]).unwrap();
        assert_eq!(whose("ada 314159").as_deref(), Some("ada"));
        assert_eq!(whose("314159"), None, "whose is it?");
        assert_eq!(whose("ada 271828"), None, "another one's");
    }
}
