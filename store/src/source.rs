//! Where the file of a recording can be read: in the archive's folder, or as a copy in an archive location.

use std::sync::Arc;

use crate::disk::ReadAt;
use crate::layout::Layout;
use crate::locations::stub::Stub;
use crate::shared::Shared;
use crate::wave::path_of;
use crate::{Error, RecordingId};

/// A recording's file, its chunks not yet followed, and what reads it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) disk: Arc<dyn ReadAt>,
    pub(crate) layout: Layout,
    /// It was found whole and ours a moment ago.
    pub(crate) is_verified: bool,
}

impl Source {
    /// Finds the file. [`Error::NotFound`] when there is none; [`Error::Away`] when it is in locations that cannot be read now.
    pub(crate) fn find(shared: &Shared, id: RecordingId) -> Result<Source, Error> {
        match Layout::read(&*shared.disk, &path_of(id)) {
            Ok(layout) => {
                let disk = Arc::clone(&shared.disk) as Arc<dyn ReadAt>;
                Ok(Source { disk, layout, is_verified: false })
            }
            Err(Error::NotFound { .. }) => shared.locations.open(shared, Stub::read(&*shared.disk, id)?),
            Err(e) => Err(e),
        }
    }
}
