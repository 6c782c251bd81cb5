//! Who numbers which message how.

/// An extension message that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// Exchange of metadata (BEP 9).
    Metadata,
    /// Peer exchange (BEP 11).
    Pex,
    /// A piece was lost (BEP 54).
    DontHave,
    /// The sender becomes, or ceases to be, upload only (BEP 21).
    UploadOnly,
}

impl Extension {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Metadata, Self::Pex, Self::DontHave, Self::UploadOnly];

    /// The key under which handshakes number it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "ut_metadata",
            Self::Pex => "ut_pex",
            Self::DontHave => "lt_donthave",
            Self::UploadOnly => "upload_only",
        }
    }

    /// The number under which peers send it to us; never 0.
    pub fn own_id(self) -> u8 {
        self as u8 + 1
    }

    /// What peers mean by a number that we gave out.
    pub fn from_own_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.own_id() == id)
    }
}

/// The numbers of one side, so far as its handshakes named them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// By [`Extension`]. `None` where nothing was said, 0 where the message is explicitly not wanted (any more).
    ids: [Option<u8>; Extension::ALL.len()],
}

impl ExtensionIds {
    /// Our numbers, for those of the extensions that are to be offered.
    pub fn own(offered: &[Extension]) -> Self {
        let mut ids = Self::default();
        for &extension in offered {
            ids.set(extension, extension.own_id());
        }
        ids
    }

    /// The number of a message; `None` when its owner does not understand it.
    pub fn get(&self, extension: Extension) -> Option<u8> {
        self.ids[extension as usize].filter(|&id| id != 0)
    }

    /// Numbers a message; 0 withdraws it.
    pub fn set(&mut self, extension: Extension, id: u8) {
        self.ids[extension as usize] = Some(id);
    }

    /// Takes over what a further handshake says; what it does not name stays (BEP 10).
    pub fn merge(&mut self, newer: &Self) {
        for (id, newer) in self.ids.iter_mut().zip(newer.ids) {
            *id = newer.or(*id);
        }
    }

    /// What was said, 0 included.
    pub(super) fn named(&self) -> impl Iterator<Item = (Extension, u8)> + '_ {
        Extension::ALL.into_iter().zip(self.ids).filter_map(|(extension, id)| Some((extension, id?)))
    }
}
