//! Where the arrows lead: from slot to slot, from recipe to recipe, or through the text of a screen.

use crate::rack::RackView;

use super::{App, Screen};

impl App {
    /// Up or down on the open screen.
    pub(super) fn up_or_down(&mut self, by: i32, rack: &RackView) {
        if self.screen == Screen::Recipes {
            let last = rack.recipes.len().saturating_sub(1);
            self.recipe = self.recipe.saturating_add_signed(if by < 0 { -1 } else { 1 }).min(last);
        } else {
            self.go(by, 0);
        }
    }

    /// One step in a direction: to another slot, or through a text.
    pub(super) fn go(&mut self, down: i32, right: i32) {
        match self.screen {
            Screen::Floor => {
                if let Some(slot) = self.grid().beside(self.selected, down, right) {
                    self.selected = slot;
                }
            }
            Screen::Slot | Screen::Log if right != 0 => self.next_slot(right),
            _ => self.scroll = self.scroll.saturating_add_signed(i16::try_from(down).unwrap_or(0)),
        }
    }

    /// A page up or down.
    pub(super) fn page(&mut self, down: i32) {
        match self.screen {
            Screen::Floor => {
                let grid = self.grid();
                if let Some(slot) = grid.beside(self.selected, down * i32::from(grid.visible), 0) {
                    self.selected = slot;
                }
            }
            _ => {
                let page = i16::try_from(self.size.1 / 2).unwrap_or(10);
                self.scroll = self.scroll.saturating_add_signed(if down < 0 { -page } else { page });
            }
        }
    }

    /// To the beginning or the end.
    pub(super) fn end(&mut self, last: bool) {
        match self.screen {
            Screen::Floor => {
                let ends = (self.station.places.first(), self.station.places.last());
                if let Some(place) = if last { ends.1 } else { ends.0 } {
                    self.selected = place.slot;
                }
            }
            _ => self.scroll = if last { u16::MAX } else { 0 },
        }
    }

    fn next_slot(&mut self, by: i32) {
        let places = &self.station.places;
        let at = places.iter().position(|place| place.slot == self.selected).unwrap_or(0);
        let next = if by > 0 { at + 1 } else { at.wrapping_sub(1) };
        if let Some(place) = places.get(next) {
            self.selected = place.slot;
            self.scroll = 0;
        }
    }
}
