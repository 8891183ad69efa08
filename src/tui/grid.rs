//! Where each slot is on the screen: as it stands on the bench if `station.toml` says so and there is room, else in order.
//! Pure geometry, for painting and for the arrow keys alike.

use std::collections::BTreeMap;

use crate::model::SlotNo;

/// A slot and its place on the rack, counted from the upper left, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The slot.
    pub slot: SlotNo,
    /// Row and column, if `station.toml` says.
    pub position: Option<(u16, u16)>,
    /// What is written beside its number.
    pub label: Option<String>,
}

/// Cells of one size, a slot in some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The width of a cell.
    pub width: u16,
    /// The height of a cell.
    pub height: u16,
    /// How many rows fit on the screen.
    pub visible: u16,
    /// How many rows there are.
    pub rows: u16,
    cells: BTreeMap<SlotNo, (u16, u16)>,
}

impl Grid {
    /// Lays the rack out for an area of this size.
    pub fn lay_out(places: &[Place], width: u16, height: u16) -> Self {
        let positions: Option<Vec<_>> = places
            .iter()
            .map(|place| place.position.map(|(row, column)| (place.slot, (row - 1, column - 1))))
            .collect();
        let fits = |columns: u16| columns > 0 && width / columns >= LEAST_WIDTH;
        let columns_of = |cells: &[(SlotNo, (u16, u16))]| cells.iter().map(|(_, (_, column))| column + 1).max().unwrap_or(0);
        let (cells, columns) = match positions.filter(|cells| fits(columns_of(cells))) {
            Some(cells) => {
                let columns = columns_of(&cells);
                (cells, columns)
            }
            None => {
                let count = u16::try_from(places.len()).unwrap_or(u16::MAX);
                let columns = columns_for(count, width);
                let numbered = places
                    .iter()
                    .zip(0..)
                    .map(|(place, i)| (place.slot, (i / columns, i % columns)));
                (numbered.collect(), columns)
            }
        };
        let rows = cells.iter().map(|(_, (row, _))| row + 1).max().unwrap_or(1);
        // All rows at once if they fit; else as many of the least height as there is room for.
        let tall = (height / rows).clamp(LEAST_HEIGHT, MOST_HEIGHT);
        Self {
            width: (width / columns.max(1)).min(MOST_WIDTH),
            height: tall,
            visible: (height / tall).max(1),
            rows,
            cells: cells.into_iter().collect(),
        }
    }

    /// Row and column of a slot, from 0.
    pub fn cell(&self, slot: SlotNo) -> Option<(u16, u16)> {
        self.cells.get(&slot).copied()
    }

    /// The first row on the screen, so that this slot is on it: whole pages, so that tiles keep their places.
    pub fn top(&self, selected: SlotNo) -> u16 {
        let row = self.cell(selected).map_or(0, |(row, _)| row);
        (row / self.visible * self.visible).min(self.rows.saturating_sub(self.visible))
    }

    /// The slots with their cells.
    pub fn cells(&self) -> impl Iterator<Item = (SlotNo, (u16, u16))> {
        self.cells.iter().map(|(slot, cell)| (*slot, *cell))
    }

    /// The nearest slot in a direction, in rows and columns; none at the edge.
    pub fn beside(&self, slot: SlotNo, down: i32, right: i32) -> Option<SlotNo> {
        let (row, column) = self.cell(slot)?;
        let ahead = |cell: (u16, u16)| {
            let (rows, columns) = (i32::from(cell.0) - i32::from(row), i32::from(cell.1) - i32::from(column));
            let along = rows * down.signum() + columns * right.signum();
            let aside = if down == 0 { rows.abs() } else { columns.abs() };
            (along > 0).then_some(((along - down.abs().max(right.abs())).abs(), aside))
        };
        // In a row there is no step into another one; up and down the nearest column will do.
        self.cells()
            .filter_map(|(other, cell)| ahead(cell).map(|far| (far, other)))
            .filter(|((_, aside), _)| down != 0 || *aside == 0)
            .min()
            .map(|(_, other)| other)
    }
}

/// So many columns make a rack about twice as wide as it is high in tiles, as far as there is room.
fn columns_for(count: u16, width: u16) -> u16 {
    let room = (width / LEAST_WIDTH).max(1);
    let wanted = (1..=count).find(|n| n * n >= count.saturating_mul(2)).unwrap_or(count);
    wanted.clamp(1, room)
}

/// Below this a tile says too little.
const LEAST_WIDTH: u16 = 19;
/// Wider tiles are harder to take in at a glance.
const MOST_WIDTH: u16 = 40;
/// The bar, who, what, how far, how long.
const LEAST_HEIGHT: u16 = 5;
const MOST_HEIGHT: u16 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn places(n: u16, position: impl Fn(u16) -> Option<(u16, u16)>) -> Vec<Place> {
        let place = |n| Place {
            slot: SlotNo(n),
            position: position(n),
            label: None,
        };
        (1..=n).map(place).collect()
    }

    #[test]
    fn eight_fit_at_80x24_and_sixty_four_at_160x48() {
        let small = Grid::lay_out(&places(8, |_| None), 80, 16);
        assert_eq!((small.width, small.height, small.rows, small.visible), (20, 8, 2, 2));
        let large = Grid::lay_out(&places(64, |_| None), 160, 40);
        assert_eq!((large.width, large.height, large.rows, large.visible), (20, 5, 8, 8));
        let scrolled = Grid::lay_out(&places(120, |_| None), 160, 40);
        assert_eq!((scrolled.rows, scrolled.visible), (15, 8));
        assert_eq!(
            (scrolled.top(SlotNo(1)), scrolled.top(SlotNo(65)), scrolled.top(SlotNo(120))),
            (0, 7, 7)
        );
    }

    #[test]
    fn positions_are_kept_where_there_is_room() {
        let rack = places(4, |n| Some((3 - n.div_ceil(2), n % 2 + 1)));
        let grid = Grid::lay_out(&rack, 80, 20);
        assert_eq!(grid.cell(SlotNo(1)), Some((1, 1)));
        assert_eq!(grid.cell(SlotNo(4)), Some((0, 0)));
        let wide = places(12, |n| Some((1, n)));
        assert_eq!(
            Grid::lay_out(&wide, 80, 20).cell(SlotNo(5)),
            Some((1, 0)),
            "in order, where it is too wide"
        );
    }

    #[test]
    fn arrows_go_to_the_nearest_slot() {
        let grid = Grid::lay_out(&places(7, |_| None), 80, 20);
        assert_eq!(grid.beside(SlotNo(1), 0, 1), Some(SlotNo(2)));
        assert_eq!(grid.beside(SlotNo(4), 0, 1), None, "the edge");
        assert_eq!(grid.beside(SlotNo(2), 1, 0), Some(SlotNo(6)));
        assert_eq!(grid.beside(SlotNo(4), 1, 0), Some(SlotNo(7)), "the nearest column");
        assert_eq!(grid.beside(SlotNo(6), -1, 0), Some(SlotNo(2)));
        assert_eq!(grid.beside(SlotNo(1), 0, -1), None);
        let large = Grid::lay_out(&places(64, |_| None), 160, 40);
        assert_eq!(large.beside(SlotNo(9), 1, 0), Some(SlotNo(17)), "one row, not to the end");
    }
}
