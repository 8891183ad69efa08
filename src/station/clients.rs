//! The OAuth clients of products, by which tokens of their customers are asked for.

use std::collections::BTreeMap;

use crate::{cloud::OauthClient, model::ProductId};

/// A client for each product that has one, under each of the product's names.
#[derive(Clone, Debug, Default)]
pub struct Clients(BTreeMap<ProductId, OauthClient>);

impl Clients {
    /// Takes in a client of a product under one of its names.
    pub fn insert(&mut self, product: ProductId, client: OauthClient) {
        self.0.insert(product, client);
    }

    /// The client of a product.
    pub fn of(&self, product: &ProductId) -> Option<&OauthClient> {
        self.0.get(product)
    }
}
