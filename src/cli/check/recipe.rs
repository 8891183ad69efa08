//! The files that the recipes name: there, the ones that are meant, whole, for the platform, and enough.

use std::fs;

use super::{Finding, mistakes};
use crate::{
    cli::exit::ExitCode,
    config::{RecipeSpec, Station},
    model::{recipe::Recipe, sentence::count},
    station::shelf,
};

const ABOUT: &str = "recipe";

/// Looks at every recipe; returns those whose files are all right.
pub(super) fn look(station: &Station) -> (Vec<Recipe>, Vec<Finding>) {
    let (mut recipes, mut findings) = (Vec::new(), Vec::new());
    for spec in &station.recipes {
        let (recipe, found) = one(station, spec);
        recipes.extend(recipe);
        findings.extend(found);
    }
    (recipes, findings)
}

fn one(station: &Station, spec: &RecipeSpec) -> (Option<Recipe>, Vec<Finding>) {
    let resolved = match spec.resolve(&|path| fs::read(station.path(path))) {
        Ok(resolved) => resolved,
        Err(errors) => return (None, mistakes(ABOUT, &errors)),
    };
    match shelf::prepare(resolved.recipe.clone(), &resolved.firmware) {
        Ok(ready) => {
            let mut findings = vec![Finding::fine(
                ABOUT,
                format!(
                    "{} for {}: {}",
                    spec.name,
                    spec.platform,
                    count(resolved.firmware.len(), "firmware file")
                ),
            )];
            findings.extend(ready.skipped.iter().map(|skipped| {
                Finding::warning(
                    ABOUT,
                    format!("{}: {} is left out: {:?}", spec.name, skipped.label, skipped.reason),
                    "remove it from the recipe if that is not meant",
                )
            }));
            (Some(resolved.recipe), findings)
        }
        Err(error) => {
            let found = Finding::of(
                ABOUT,
                &error,
                "correct the recipe: nothing would be flashed with it",
                ExitCode::Usage,
            );
            // The cloud can be asked about its product all the same.
            (Some(resolved.recipe), vec![found])
        }
    }
}
