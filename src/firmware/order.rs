//! Order of modules: dependencies first, and as few changes of mode as they allow.

use crate::model::platform::UsbMode;

/// How a module is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Through the running system.
    Update,
    /// By DFU.
    Dfu,
    /// Through the running system, after everything else: assets belong to an application that is there.
    Asset,
}

/// The order in which to deliver; `needs[i]` lists what must come before `i`. An error lists those that wait for each other.
///
/// Begun in normal mode: updates, DFU, assets, unless an update needs something that goes by DFU. Begun in DFU mode:
/// DFU, updates, assets, whatever a DFU module may need of an update: the device may have no system that takes one, and the
/// system that DFU writes starts in safe mode until its needs are met.
pub(super) fn order(mode: UsbMode, groups: &[Group], priorities: &[u8], needs: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let rank = |group: Group| match (group, mode) {
        (Group::Asset, _) => 2,
        (Group::Update, UsbMode::Normal) | (Group::Dfu, UsbMode::Dfu) => 0,
        (Group::Update, UsbMode::Dfu) | (Group::Dfu, UsbMode::Normal) => 1,
    };
    let counts = |i: usize, j: usize| mode == UsbMode::Normal || rank(groups[j]) <= rank(groups[i]);
    let mut done = vec![false; groups.len()];
    let mut sequence: Vec<usize> = Vec::with_capacity(groups.len());
    while sequence.len() < groups.len() {
        let current = sequence.last().map(|i| groups[*i]);
        let ready = |i: &usize| !done[*i] && needs[*i].iter().all(|j| !counts(*i, *j) || done[*j]);
        let key = |i: &usize| {
            let group = groups[*i];
            let stay = mode == UsbMode::Normal && Some(group) == current;
            (group == Group::Asset, !stay, rank(group), priorities[*i], *i)
        };
        let Some(next) = (0..groups.len()).filter(ready).min_by_key(key) else {
            return Err((0..groups.len()).filter(|i| !done[*i]).collect());
        };
        done[next] = true;
        sequence.push(next);
    }
    Ok(sequence)
}

#[cfg(test)]
mod tests {
    use Group::{Asset, Dfu, Update};

    use super::*;

    fn sequence(mode: UsbMode, modules: &[(Group, &[usize])]) -> Result<Vec<usize>, Vec<usize>> {
        let groups: Vec<Group> = modules.iter().map(|m| m.0).collect();
        let needs: Vec<Vec<usize>> = modules.iter().map(|m| m.1.to_vec()).collect();
        order(mode, &groups, &vec![0; modules.len()], &needs)
    }

    #[test]
    fn groups_follow_the_mode() {
        let modules: [(Group, &[usize]); 4] = [(Asset, &[]), (Dfu, &[3]), (Dfu, &[1]), (Update, &[])];
        assert_eq!(sequence(UsbMode::Normal, &modules), Ok(vec![3, 1, 2, 0]));
        assert_eq!(sequence(UsbMode::Dfu, &modules), Ok(vec![1, 2, 3, 0]));
    }

    #[test]
    fn in_normal_mode_a_dependency_is_stronger_than_the_group() {
        let modules: [(Group, &[usize]); 4] = [(Update, &[1]), (Dfu, &[]), (Update, &[]), (Dfu, &[0])];
        assert_eq!(sequence(UsbMode::Normal, &modules), Ok(vec![2, 1, 0, 3]));
    }

    #[test]
    fn a_ring_is_told() {
        assert_eq!(
            sequence(UsbMode::Normal, &[(Dfu, &[]), (Dfu, &[2]), (Dfu, &[1])]),
            Err(vec![1, 2])
        );
        assert_eq!(sequence(UsbMode::Dfu, &[(Dfu, &[1]), (Dfu, &[0])]), Err(vec![0, 1]));
    }
}
