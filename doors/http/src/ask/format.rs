//! In which form: the `format` parameter and the `Accept` header, of which the parameter counts first (IPIP-523).

use std::fmt;

use super::range::EntityBytes;
use crate::Refusal;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As what it is: the bytes of a file, a page for a directory.
    Plain,
    /// One block, as it was hashed.
    Raw,
    /// Blocks with their CIDs, to be verified by whoever asks.
    Car(CarAsk),
    /// A directory with all in it, as an archive.
    Tar,
    /// A block of that codec; JSON may also be a file.
    Encoded(Encoding),
    /// The signed record behind a name.
    IpnsRecord,
}

/// A codec that answers are asked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The IPLD data model in JSON.
    DagJson,
    /// The IPLD data model in CBOR.
    DagCbor,
    /// Any JSON.
    Json,
    /// Any CBOR.
    Cbor,
}

/// Which blocks, and how they follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarAsk {
    /// What lies at the end of the path: how much of it.
    pub scope: DagScope,
    /// Which bytes of the file.
    pub bytes: Option<EntityBytes>,
    /// A block as often as it occurs, or once.
    pub duplicates: bool,
}

/// How much of what lies at the end of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DagScope {
    /// Its root block.
    Block,
    /// What it needs to be read, but not what it links to: a file, or the names in a directory.
    Entity,
    /// Everything below it.
    #[default]
    All,
}

impl fmt::Display for DagScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Entity => "entity",
            Self::All => "all",
        })
    }
}

impl Format {
    /// The value of the `format` parameter; `None` for what has no name of its own.
    pub fn parameter(&self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::Raw => "raw",
            Self::Car(_) => "car",
            Self::Tar => "tar",
            Self::Encoded(Encoding::DagJson) => "dag-json",
            Self::Encoded(Encoding::DagCbor) => "dag-cbor",
            Self::Encoded(Encoding::Json) => "json",
            Self::Encoded(Encoding::Cbor) => "cbor",
            Self::IpnsRecord => "ipns-record",
        })
    }

    /// The media type of the answer; `None` where it depends on the content.
    pub fn media_type(&self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::Raw => "application/vnd.ipld.raw",
            Self::Car(ask) if ask.duplicates => "application/vnd.ipld.car; version=1; order=dfs; dups=y",
            Self::Car(_) => "application/vnd.ipld.car; version=1; order=dfs; dups=n",
            Self::Tar => "application/x-tar",
            Self::Encoded(Encoding::DagJson) => "application/vnd.ipld.dag-json",
            Self::Encoded(Encoding::DagCbor) => "application/vnd.ipld.dag-cbor",
            Self::Encoded(Encoding::Json) => "application/json",
            Self::Encoded(Encoding::Cbor) => "application/cbor",
            Self::IpnsRecord => "application/vnd.ipfs.ipns-record",
        })
    }

    /// What a file of it is named by, behind the last dot.
    pub fn extension(&self) -> Option<&'static str> {
        match self {
            Self::Raw => Some("bin"),
            other => other.parameter(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        FORMATS.into_iter().find(|format| format.parameter() == Some(name))
    }

    fn of_media_type(essence: &str) -> Option<Self> {
        let essence_of = |format: &Self| format.media_type().and_then(|media| media.split(';').next());
        FORMATS
            .into_iter()
            .find(|format| essence_of(format).is_some_and(|own| own.eq_ignore_ascii_case(essence)))
    }
}

const FORMATS: [Format; 8] = [
    Format::Raw,
    Format::Car(CarAsk { scope: DagScope::All, bytes: None, duplicates: false }),
    Format::Tar,
    Format::Encoded(Encoding::DagJson),
    Format::Encoded(Encoding::DagCbor),
    Format::Encoded(Encoding::Json),
    Format::Encoded(Encoding::Cbor),
    Format::IpnsRecord,
];

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The form.
    pub format: Format,
    /// It was asked for by `Accept` alone: caches are told the address that says it too.
    pub by_header: bool,
    /// If it cannot be had in that form, as what it is will do.
    pub or_plain: bool,
}

/// The parameters of a query that concern the form.
#[derive(Clone, Copy, Debug, Default)]
pub struct FormatParameters<'a> {
    /// `format`
    pub format: Option<&'a str>,
    /// `dag-scope`
    pub dag_scope: Option<&'a str>,
    /// `entity-bytes`
    pub entity_bytes: Option<&'a str>,
    /// `car-version`
    pub car_version: Option<&'a str>,
    /// `car-order`
    pub car_order: Option<&'a str>,
    /// `car-dups`
    pub car_dups: Option<&'a str>,
}

/// Chooses the form.
///
/// # Errors
/// 400: no such form; 406: no form that would be accepted.
pub fn negotiate(parameters: &FormatParameters<'_>, accept: Option<&str>) -> Result<Negotiated, Refusal> {
    let accepted = accept.map(accepted);
    let named = parameters
        .format
        .map(|name| Format::named(name).ok_or_else(|| Refusal::malformed(format!("no such format: {name}"))));
    let mut chosen = match (named.transpose()?, &accepted) {
        // Both say CAR: the header may say more of it.
        (Some(Format::Car(ask)), Some(Ok(Negotiated { format: Format::Car(more), .. }))) => {
            let ask = CarAsk { duplicates: more.duplicates, ..ask };
            Negotiated { format: Format::Car(ask), by_header: false, or_plain: false }
        }
        (Some(format), _) => Negotiated { format, by_header: false, or_plain: false },
        (None, None) => Negotiated { format: Format::Plain, by_header: false, or_plain: true },
        (None, Some(accepted)) => accepted.clone()?,
    };
    if let Format::Car(ask) = &mut chosen.format {
        ask.refine(parameters)?;
    }
    Ok(chosen)
}

impl CarAsk {
    /// Takes up the parameters of the query, which count before those of the header.
    fn refine(&mut self, parameters: &FormatParameters<'_>) -> Result<(), Refusal> {
        if let Some(version) = parameters.car_version.filter(|version| *version != "1") {
            return Err(Refusal::malformed(format!("car-version is 1, not {version:?}")));
        }
        if let Some(order) = parameters.car_order.filter(|order| !is_order(order)) {
            return Err(Refusal::malformed(format!("car-order is dfs or unk, not {order:?}")));
        }
        self.duplicates = match parameters.car_dups {
            None => self.duplicates,
            Some("y") => true,
            Some("n") => false,
            Some(other) => return Err(Refusal::malformed(format!("car-dups is y or n, not {other:?}"))),
        };
        self.bytes = parameters.entity_bytes.map(EntityBytes::parse).transpose()?;
        self.scope = match parameters.dag_scope {
            // Bytes are of an entity.
            None if self.bytes.is_some() => DagScope::Entity,
            None | Some("all") => DagScope::All,
            Some("entity") => DagScope::Entity,
            Some("block") => DagScope::Block,
            Some(other) => {
                return Err(Refusal::malformed(format!("dag-scope is block, entity or all, not {other:?}")));
            }
        };
        if self.scope != DagScope::Entity && self.bytes.is_some() {
            return Err(Refusal::malformed("entity-bytes goes with dag-scope=entity"));
        }
        Ok(())
    }
}

/// Depth first is what is sent, and it is as good as no promise.
fn is_order(order: &str) -> bool {
    matches!(order, "dfs" | "unk" | "")
}

/// The form that an `Accept` header likes best of those that there are.
fn accepted(header: &str) -> Result<Negotiated, Refusal> {
    let mut ranges: Vec<_> = header.split(',').filter_map(MediaRange::parse).collect();
    // A stable sort: of equals, the first.
    ranges.sort_by_key(|range| std::cmp::Reverse(range.quality));
    let formats = ranges.iter().filter(|range| range.quality > 0).filter_map(MediaRange::format);
    let mut formats = formats.peekable();
    match formats.next() {
        Some(format) => {
            let or_plain = format == Format::Plain || formats.any(|other| other == Format::Plain);
            Ok(Negotiated { format, by_header: format != Format::Plain, or_plain })
        }
        None if ranges.is_empty() => {
            Ok(Negotiated { format: Format::Plain, by_header: false, or_plain: true })
        }
        None => Err(Refusal::not_acceptable(
            "no form of this is accepted: there are CAR of version 1 in the order dfs, raw blocks and others by `format`",
        )),
    }
}

/// One item of an `Accept` header.
struct MediaRange<'a> {
    essence: &'a str,
    parameters: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> MediaRange<'a> {
    fn parse(item: &'a str) -> Option<Self> {
        let (essence, parameters) = item.split_once(';').unwrap_or((item, ""));
        let essence = essence.trim();
        if essence.is_empty() {
            return None;
        }
        let mut range = Self { essence, parameters, quality: 1000 };
        if let Some(quality) = range.parameter("q") {
            let quality: f32 = quality.parse().unwrap_or(1.0);
            // A saturating cast of what lies from 0 to 1000.
            range.quality = (quality.clamp(0.0, 1.0) * 1000.0) as u16;
        }
        Some(range)
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| {
            let (own, value) = parameter.split_once('=')?;
            own.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }

    /// The form that this item is content with; `None`: a CAR that is not made here.
    fn format(&self) -> Option<Format> {
        match Format::of_media_type(self.essence) {
            Some(Format::Car(ask)) => {
                let is_ours = self.parameter("version").is_none_or(|version| version == "1")
                    && self.parameter("order").is_none_or(is_order);
                is_ours
                    .then(|| Format::Car(CarAsk { duplicates: self.parameter("dups") == Some("y"), ..ask }))
            }
            // What is a file may be of any type: who does not like it will see.
            other => other.or(Some(Format::Plain)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(accept: &str) -> Result<(Format, bool), u16> {
        let chosen = negotiate(&FormatParameters::default(), Some(accept));
        chosen.map(|chosen| (chosen.format, chosen.or_plain)).map_err(|refusal| refusal.status.as_u16())
    }

    fn car(parameters: FormatParameters<'_>, accept: Option<&str>) -> Result<CarAsk, u16> {
        let parameters = FormatParameters { format: Some("car"), ..parameters };
        match negotiate(&parameters, accept).map_err(|refusal| refusal.status.as_u16())?.format {
            Format::Car(ask) => Ok(ask),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn accept_chooses_what_is_liked_best() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        assert_eq!(by(browser), Ok((Format::Plain, true)));
        assert_eq!(by("application/vnd.ipld.raw"), Ok((Format::Raw, false)));
        assert_eq!(by("Application/X-Tar"), Ok((Format::Tar, false)));
        assert_eq!(by("application/json, text/plain, */*"), Ok((Format::Encoded(Encoding::Json), true)));
        assert_eq!(by("application/vnd.ipld.raw;q=0.1, application/x-tar;q=0.5"), Ok((Format::Tar, false)));
        assert_eq!(by("*/*;q=0.1, application/vnd.ipld.raw;q=0"), Ok((Format::Plain, true)));
        assert_eq!(by(""), Ok((Format::Plain, true)));
    }

    #[test]
    fn a_car_of_another_kind_is_not_acceptable() {
        let twice = CarAsk { duplicates: true, ..CarAsk::default() };
        let order = "application/vnd.ipld.car;order=foo, application/vnd.ipld.car;order=dfs;dups=y;q=0.5";
        assert_eq!(by(order), Ok((Format::Car(twice), false)));
        assert_eq!(by("application/vnd.ipld.car; version=2"), Err(406));
        assert_eq!(by("application/vnd.ipld.car; order=foo"), Err(406));
        assert_eq!(
            by("application/vnd.ipld.car; version=1; order=unk"),
            Ok((Format::Car(CarAsk::default()), false))
        );
    }

    #[test]
    fn the_parameter_counts_before_the_header() {
        let parameters = FormatParameters { format: Some("raw"), ..FormatParameters::default() };
        let chosen = negotiate(&parameters, Some("application/vnd.ipld.car")).unwrap();
        assert_eq!(chosen, Negotiated { format: Format::Raw, by_header: false, or_plain: false });
        for name in ["", "zip", "RAW"] {
            let parameters = FormatParameters { format: Some(name), ..FormatParameters::default() };
            assert_eq!(negotiate(&parameters, None).unwrap_err().status, 400, "{name}");
        }
        let header = negotiate(&FormatParameters::default(), Some("application/vnd.ipld.raw")).unwrap();
        assert!(header.by_header);
    }

    #[test]
    fn parameters_of_a_car() {
        let none = FormatParameters::default();
        assert_eq!(car(none, None), Ok(CarAsk::default()));
        let twice = Some("application/vnd.ipld.car;dups=y");
        assert!(car(none, twice).unwrap().duplicates);
        assert!(!car(FormatParameters { car_dups: Some("n"), ..none }, twice).unwrap().duplicates);
        let block = FormatParameters { dag_scope: Some("block"), ..none };
        assert_eq!(car(block, None).unwrap().scope, DagScope::Block);
        let bytes = FormatParameters { entity_bytes: Some("0:*"), ..none };
        assert_eq!(car(bytes, None).unwrap().scope, DagScope::Entity);
        for wrong in [
            FormatParameters { dag_scope: Some("some"), ..none },
            FormatParameters { dag_scope: Some("all"), entity_bytes: Some("0:*"), ..none },
            FormatParameters { entity_bytes: Some("x"), ..none },
            FormatParameters { car_version: Some("2"), ..none },
            FormatParameters { car_order: Some("bfs"), ..none },
            FormatParameters { car_dups: Some("maybe"), ..none },
        ] {
            assert_eq!(car(wrong, None), Err(400), "{wrong:?}");
        }
    }

    #[test]
    fn every_format_is_found_by_its_names() {
        for format in FORMATS {
            assert_eq!(format.parameter().and_then(Format::named), Some(format));
            let essence = format.media_type().unwrap().split(';').next().unwrap();
            assert_eq!(Format::of_media_type(essence), Some(format));
        }
    }
}
