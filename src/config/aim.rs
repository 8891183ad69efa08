//! What a recipe is for: to provision, or to repair (`aim = "repair"`), and what of a recipe goes with which.

use super::{document::Table, slot::Unique, value::Value};
use crate::model::{
    ProductId,
    recipe::{Aim, KeyPolicy, Repair, Work},
};

/// Reads the aim and all that belongs to a repair alone. `product` is that of the recipe.
pub(super) fn read(table: &Table<'_>, product: Option<&ProductId>) -> Option<Aim> {
    let repairs = table.get_or("aim", false, |value| value.choice(&[("provision", false), ("repair", true)]));
    let (work, from, reference) = (table.get("work"), table.get("from"), table.get("reference"));
    if repairs? {
        for key in NOT_IN_A_REPAIR {
            if let Some(value) = table.get(key) {
                value.refuse::<()>(NO_REPAIR);
            }
        }
        let work = work.map_or(Some(Work::Mend), |value| read_work(&value));
        let from = from.map_or(Some(Vec::new()), |value| read_from(&value, product));
        let reference = reference.map_or(Some(None), |value| value.words(64).map(Some));
        return Some(Aim::Repair(Repair {
            work: work?,
            from: from?,
            reference: reference?,
        }));
    }
    let alone: Vec<_> = [work, from, reference].into_iter().flatten().collect();
    for value in &alone {
        value.refuse::<()>("is for repairs: add aim = \"repair\", or remove this");
    }
    alone.is_empty().then_some(Aim::Provision)
}

/// Reads the key policy. A repair whose work is a new key makes one, any other makes one where none is left.
pub(super) fn keys(table: &Table<'_>, aim: Option<&Aim>) -> Option<KeyPolicy> {
    let default = match aim {
        Some(Aim::Repair(repair)) if repair.work.writes_key() => KeyPolicy::Generate,
        Some(Aim::Repair(_)) => KeyPolicy::ReadOrGenerate,
        Some(Aim::Provision) | None => KeyPolicy::Read,
    };
    table.get_or("keys", default, |value| {
        let words = [KeyPolicy::Read, KeyPolicy::Generate, KeyPolicy::ReadOrGenerate].map(|policy| (policy.to_string(), policy));
        let policy = value.choice(&words.each_ref().map(|(word, policy)| (word.as_str(), *policy)))?;
        let Some(Aim::Repair(repair)) = aim else {
            return Some(policy);
        };
        match (repair.work.writes_key(), policy == KeyPolicy::Generate) {
            (true, false) => value.refuse(format!("must be \"generate\" with work = \"{}\"", word(repair.work))),
            (false, true) => value.refuse(
                "must be \"read\" or \"read-or-generate\": a repair makes a new pair in any case with work = \"new-key\"",
            ),
            _ => Some(policy),
        }
    })
}

/// The word of a work in a recipe.
pub(super) fn word(work: Work) -> &'static str {
    let (word, _) = WORKS
        .iter()
        .find(|(_, known)| *known == work)
        .expect("every work has its word");
    word
}

fn read_work(value: &Value<'_>) -> Option<Work> {
    value.choice(&WORKS)
}

fn read_from(value: &Value<'_>, product: Option<&ProductId>) -> Option<Vec<ProductId>> {
    let elements = value.elements(FROM)?;
    if elements.len() > MOST_PRODUCTS {
        return value.refuse(format!("must have at most {MOST_PRODUCTS} products"));
    }
    if product.is_none() && !elements.is_empty() {
        return value.refuse("needs a product to which the devices are moved");
    }
    let mut taken = Unique::new("product");
    let products: Vec<_> = elements
        .iter()
        .map(|element| {
            let from = element.product()?;
            if Some(&from) == product {
                return element.refuse("must be another product than that of the recipe");
            }
            taken.claim(element, from.clone()).then_some(from)
        })
        .collect();
    products.into_iter().collect()
}

const WORKS: [(&str, Work); 7] = [
    ("mend", Work::Mend),
    ("diagnose", Work::Diagnose),
    ("new-key", Work::NewKey),
    ("given-key", Work::GivenKey),
    ("server-key", Work::ServerKey),
    ("address", Work::Address),
    ("save-key", Work::SaveKey),
];
/// A repair flashes nothing, switches no SIM on, and without the cloud it cannot even begin.
const NOT_IN_A_REPAIR: [&str; 3] = ["firmware", "activate_sim", "finish_owed"];
const NO_REPAIR: &str = "has no place in a repair: remove it, or provision with a recipe of its own";
const FROM: &str = "must be a list of products, such as [1234, \"my-product-v100\"]";
/// Each costs a look for a device that is in none of them.
const MOST_PRODUCTS: usize = 32;
