//! Engineers: a PIN comes, counts for some time, and goes. It owns who may decide, and under which name.

use crate::model::{Fact, Wall};

use super::{Told, person::fit, shift::Engineer, turn::Turn};

impl Turn {
    /// Somebody gave a PIN.
    pub(super) fn pin(&mut self, whose: Option<&str>) {
        self.told = Some(match (self.rack.shift.next_pin(self.wall), whose) {
            (Some(at), _) => Told::refused(wait_words(at)),
            (None, None) => {
                self.fact(Fact::PinRefused {});
                Told::refused(match self.rack.shift.next_pin(self.wall) {
                    Some(at) => format!("wrong PIN: {}", wait_words(at)),
                    None => "wrong PIN".to_owned(),
                })
            }
            (None, Some(name)) => self.engineer_comes(name),
        });
    }

    fn engineer_comes(&mut self, name: &str) -> Told {
        let name = match fit(name) {
            Ok(name) => name,
            Err(told) => return told,
        };
        let length = self.rack.setting.rules.engineer_for;
        let until = i64::try_from(length.as_millis())
            .ok()
            .and_then(|ms| Wall::from_millis(self.wall.millis().saturating_add(ms)))
            .unwrap_or(self.wall);
        self.fact(Fact::EngineerCame {
            name: name.clone(),
            until,
        });
        let told = Told::done(format!("engineer {name}, for {} minutes", length.as_secs().div_ceil(60)));
        self.rack.engineer = Some(Engineer {
            name,
            until,
            deadline: self.now + length,
        });
        told
    }

    /// The engineer goes.
    pub(super) fn engineer_goes(&mut self) -> Told {
        match self.rack.engineer.take() {
            Some(engineer) => {
                self.fact(Fact::EngineerLeft { name: engineer.name });
                Told::done("what only engineers may do is closed again")
            }
            None => Told::refused("no engineer gave a PIN"),
        }
    }

    /// A PIN counts for some time only.
    pub(super) fn engineer_goes_in_time(&mut self) {
        if self
            .rack
            .engineer
            .as_ref()
            .is_some_and(|engineer| engineer.deadline <= self.now)
        {
            self.engineer_goes();
        }
    }

    /// True if whoever asks may do what only engineers may.
    pub(super) fn is_engineer(&self) -> bool {
        let engineer = self.rack.engineer.as_ref();
        !self.rack.pins || engineer.is_some_and(|engineer| engineer.deadline > self.now)
    }

    /// Who decides: an engineer by the PIN, or whoever is at a station without PINs.
    pub(super) fn decider(&self) -> Result<String, Told> {
        let engineer = self.rack.engineer.as_ref().map(|engineer| engineer.name.clone());
        engineer
            .or_else(|| self.rack.shift.operator.clone())
            .ok_or_else(|| Told::refused("a named person decides: say first who is at the station"))
    }

    /// Who decides, and why, both fit for a record.
    pub(super) fn decided(&self, why: &str) -> Result<(String, String), Told> {
        let by = self.decider()?;
        Ok((by, fit(why)?))
    }
}

fn wait_words(at: Wall) -> String {
    let at = at.to_string();
    format!(
        "too many wrong PINs; the next one counts after {} UTC",
        at.get(11..19).unwrap_or(&at)
    )
}
