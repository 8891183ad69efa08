//! What a command of repair does with every device: its options over the recipes of `station.toml`, as recipes of their
//! own, one for each platform. They are recorded like any other.

use crate::{
    config::{RecipeSpec, ServerSpec, Station},
    keys::server::{ServerKey, production},
    model::{
        Platform, ProductId,
        recipe::{Aim, KeyPolicy, ProtectedPolicy, Repair, Work},
    },
};

/// What is to be done.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Job {
    /// The work; none leaves it to the recipe.
    pub(in crate::cli) work: Option<Work>,
    /// The product; none leaves it to the recipe, or to the cloud.
    pub(in crate::cli) product: Option<ProductId>,
    /// Products from which devices may be moved there.
    pub(in crate::cli) from: Vec<ProductId>,
    /// Under which reference they came back.
    pub(in crate::cli) reference: Option<String>,
    /// Which server settings they get.
    pub(in crate::cli) server: Server,
    /// Leave out the handshake as proof.
    pub(in crate::cli) no_prove: bool,
    /// Let protected devices into Service Mode; else that is left to the recipe.
    pub(in crate::cli) service_mode: bool,
}

/// Which server settings a device gets.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Server {
    /// Those of the recipe for its platform; the vendor's where that keeps what is there.
    Usual,
    /// Those that it has.
    Keep,
    /// The vendor's.
    Production,
    /// Others: the vendor's where they name nothing.
    Other {
        /// The file of the server's key.
        key: Option<Vec<u8>>,
        /// The host.
        host: Option<String>,
        /// The port.
        port: Option<u16>,
    },
}

impl Job {
    /// The work, with everything else as usual.
    pub(in crate::cli) const fn new(work: Option<Work>, server: Server) -> Self {
        Self {
            work,
            product: None,
            from: Vec::new(),
            reference: None,
            server,
            no_prove: false,
            service_mode: false,
        }
    }

    /// True if the cloud has a say in it.
    pub(in crate::cli) fn asks_the_cloud(&self) -> bool {
        self.work != Some(Work::SaveKey) || self.service_mode
    }

    /// The recipes: one for each platform that the job can be done on.
    pub(in crate::cli) fn recipes(&self, station: &Station) -> Vec<RecipeSpec> {
        Platform::all()
            .filter_map(|platform| self.recipe(platform, station))
            .collect()
    }

    fn recipe(&self, platform: Platform, station: &Station) -> Option<RecipeSpec> {
        let written = station.recipe_for(platform);
        let mut repair = match written.map(|written| &written.aim) {
            Some(Aim::Repair(repair)) => repair.clone(),
            Some(Aim::Provision) | None => Repair {
                work: Work::Mend,
                from: Vec::new(),
                reference: None,
            },
        };
        repair.work = self.work.unwrap_or(repair.work);
        if !self.from.is_empty() {
            repair.from.clone_from(&self.from);
        }
        repair.reference = self.reference.clone().or(repair.reference);
        let work = repair.work;
        let mut spec = match written {
            Some(written) if matches!(written.aim, Aim::Repair(_)) => {
                let mut spec = written.clone();
                spec.aim = Aim::Repair(repair);
                spec
            }
            // What a device is provisioned for is no word on where it is now: the cloud tells that.
            other => {
                let mut spec = RecipeSpec::repair(platform, None, repair, ServerSpec::Keep);
                if let Some(provisions) = other {
                    spec.server.clone_from(&provisions.server);
                    spec.wifi.clone_from(&provisions.wifi);
                    spec.protected = provisions.protected;
                    spec.timeouts = provisions.timeouts.clone();
                    spec.place = provisions.place.clone();
                }
                spec
            }
        };
        spec.product = self.product.clone().or(spec.product);
        spec.keys = match (work, spec.keys) {
            (work, _) if work.writes_key() => KeyPolicy::Generate,
            (_, KeyPolicy::Generate) => KeyPolicy::ReadOrGenerate,
            (_, policy) => policy,
        };
        spec.prove &= !self.no_prove;
        if self.service_mode && platform.row().protection {
            spec.protected = ProtectedPolicy::ServiceMode;
        }
        spec.server = self.server(platform, spec.server)?;
        Some(spec)
    }

    /// The server settings for a platform; none if the key is not one for it.
    fn server(&self, platform: Platform, written: ServerSpec) -> Option<ServerSpec> {
        let transport = platform.row().transport;
        Some(match (&self.server, written) {
            (Server::Usual, ServerSpec::Keep) | (Server::Production, _) => ServerSpec::Production,
            (Server::Usual, written) => written,
            (Server::Keep, _) => ServerSpec::Keep,
            (Server::Other { key, host, port }, _) => {
                let usual = production(transport);
                ServerSpec::Key {
                    spki: match key {
                        Some(file) => ServerKey::from_file(file, transport).ok()?.spki,
                        None => usual.spki,
                    },
                    host: host.clone().unwrap_or(usual.host),
                    port: *port,
                    place: RecipeSpec::of_options("server"),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const STATION: &str = r#"
        station = { id = "x", state = "s" }
        slot = [{ number = 1, port = "sim-0/1" }]
        [[recipe]]
        name = "provisions"
        platform = "argon"
        product = 12
        keys = "generate"
        server = { key = "k.pem", host = "cloud.example" }
        wifi = { ssid = "bench" }
        [[recipe]]
        name = "repairs"
        platform = "boron"
        aim = "repair"
        product = 13
        from = [14]
        keys = "read"
        [[recipe]]
        name = "keeps"
        platform = "p2"
    "#;

    fn recipes(job: &Job) -> Vec<RecipeSpec> {
        job.recipes(&config::parse("station.toml", STATION).unwrap_or_else(|e| panic!("{e}")))
    }

    fn of(recipes: &[RecipeSpec], platform: Platform) -> RecipeSpec {
        recipes.iter().find(|spec| spec.platform == platform).unwrap().clone()
    }

    fn repair(spec: &RecipeSpec) -> &Repair {
        match &spec.aim {
            Aim::Repair(repair) => repair,
            Aim::Provision => panic!("{} provisions", spec.name),
        }
    }

    #[test]
    fn every_platform_is_repaired_with_what_its_recipe_says_of_bench_and_server() {
        let all = recipes(&Job::new(None, Server::Usual));
        assert_eq!(all.len(), Platform::all().count());
        let argon = of(&all, Platform::Argon);
        assert_eq!(
            (argon.product.as_ref(), argon.keys),
            (None, KeyPolicy::ReadOrGenerate),
            "the cloud tells the product"
        );
        assert!(argon.wifi.is_some() && argon.firmware.is_empty());
        assert!(matches!(argon.server, ServerSpec::File { .. }));
        assert_eq!(of(&all, Platform::P2).server, ServerSpec::Production);
        let boron = of(&all, Platform::Boron);
        assert_eq!((boron.name.as_str(), boron.keys), ("repairs", KeyPolicy::Read));
        assert_eq!(repair(&boron).from, [ProductId("14".into())]);
        assert_eq!(repair(&of(&all, Platform::Photon)).work, Work::Mend);
    }

    #[test]
    fn options_win() {
        let job = Job {
            product: Some(ProductId("77".into())),
            from: vec![ProductId("78".into())],
            reference: Some("RMA-1".into()),
            no_prove: true,
            service_mode: true,
            ..Job::new(Some(Work::NewKey), Server::Keep)
        };
        for spec in recipes(&job) {
            let repair = repair(&spec);
            assert_eq!((repair.work, repair.from.len()), (Work::NewKey, 1));
            assert_eq!(
                (spec.keys, spec.server, spec.prove),
                (KeyPolicy::Generate, ServerSpec::Keep, false)
            );
            assert_eq!(spec.product, Some(ProductId("77".into())));
            let opens = spec.protected == ProtectedPolicy::ServiceMode;
            assert_eq!(opens, spec.platform.row().protection, "{}", spec.platform);
        }
    }

    #[test]
    fn a_key_is_saved_without_a_cloud_unless_that_has_to_open_the_device() {
        for (work, service_mode, asks) in [
            (Work::SaveKey, false, false),
            (Work::SaveKey, true, true),
            (Work::Address, false, true),
        ] {
            let job = Job {
                service_mode,
                ..Job::new(Some(work), Server::Keep)
            };
            assert_eq!(job.asks_the_cloud(), asks, "{work:?}");
        }
    }

    #[test]
    fn another_server_is_for_the_devices_that_can_use_its_key() {
        let key = production(crate::model::platform::Transport::Tcp).spki;
        let server = Server::Other {
            key: Some(key),
            host: Some("cloud.example".into()),
            port: Some(7000),
        };
        let all = recipes(&Job::new(Some(Work::ServerKey), server));
        assert!(all.iter().any(|spec| spec.platform == Platform::Photon));
        assert!(all.iter().all(|spec| spec.platform != Platform::Boron));
        let host = Server::Other {
            key: None,
            host: Some("cloud.example".into()),
            port: None,
        };
        let all = recipes(&Job::new(Some(Work::ServerKey), host));
        assert_eq!(all.len(), Platform::all().count());
        assert!(
            all.iter()
                .all(|spec| matches!(&spec.server, ServerSpec::Key { host, .. } if host == "cloud.example"))
        );
    }
}
