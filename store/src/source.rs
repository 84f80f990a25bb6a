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
}

impl Source {
    /// Finds the file. [`Error::NotFound`] when there is none; [`Error::Away`] when it is in locations that cannot be read now.
    pub(crate) fn find(shared: &Shared, id: RecordingId) -> Result<Source, Error> {
        match Layout::read(&*shared.disk, &path_of(id)) {
            Ok(layout) => Ok(Source { disk: Arc::clone(&shared.disk) as Arc<dyn ReadAt>, layout }),
            Err(Error::NotFound { .. }) => {
                let Stub { layout, head, .. } = Stub::read(&*shared.disk, id)?;
                let disk = shared.locations.open(shared, id, head)?;
                Ok(Source { disk, layout })
            }
            Err(e) => Err(e),
        }
    }
}
