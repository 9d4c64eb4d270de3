//! The contents of a JSON upload: decoded and spooled while the body arrives.

use std::time::{Duration, Instant};

use yunque_kernel::ApiError;
use yunque_kernel::http::body::{Content, Contents};

use super::{Spool, Staging};
use crate::FilesError;
use crate::decode::{self, Decoder, NotBase64};

/// The first files of a batch may wait for its last ones longer than the sweep lets them.
const TOUCH_EVERY: Duration = Duration::from_secs(600);

/// What came in as one content.
#[derive(Debug)]
pub enum Upload {
    /// There is no such field, or it is null.
    Missing,
    /// Nothing but whitespace: no content, or an empty one.
    Blank(Spooled),
    NotBase64,
    Bytes(Spooled),
}

/// Decoded bytes.
#[derive(Debug)]
pub struct Spooled {
    pub size: u64,
    /// `None` when they were too many to keep.
    pub spool: Option<Spool>,
}

/// The long contents of one body. Dropping it removes what was spooled.
pub struct JsonContents {
    staging: Staging,
    /// Decoded bytes of all contents together.
    max: u64,
    done: Vec<Upload>,
    current: Option<Current>,
    /// Bytes of the valid ones in `done`.
    done_bytes: u64,
    /// Is one of them no base64? Then that is what the client should hear.
    refused: bool,
    buffer: Vec<u8>,
    touched: Instant,
}

#[derive(Debug)]
struct Current {
    decoder: Decoder,
    bytes: Spooled,
}

impl JsonContents {
    pub(super) fn new(staging: Staging, max: u64) -> Self {
        JsonContents {
            staging,
            max,
            done: Vec::new(),
            current: None,
            done_bytes: 0,
            refused: false,
            buffer: Vec::new(),
            touched: Instant::now(),
        }
    }

    /// What a field of the document brought. Each content can be taken once.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn take(&mut self, field: Option<Content>) -> Result<Upload, FilesError> {
        match field {
            None => Ok(Upload::Missing),
            Some(Content::Text(text)) => self.decode(&text),
            Some(Content::Taken(number)) => Ok(self.replace(number)),
        }
    }

    fn replace(&mut self, number: usize) -> Upload {
        let place = self.done.get_mut(number);
        place.map_or(Upload::Missing, |p| std::mem::replace(p, Upload::Missing))
    }

    fn decode(&self, text: &str) -> Result<Upload, FilesError> {
        let (decoded, bytes) = match decode::base64(text) {
            Ok(decoded) => decoded,
            Err(NotBase64) => return Ok(Upload::NotBase64),
        };
        let mut spooled = self.nothing();
        spooled.keep(&bytes)?;
        Ok(spooled.upload(decoded))
    }

    fn nothing(&self) -> Spooled {
        Spooled {
            size: 0,
            spool: Some(self.staging.spool()),
        }
    }

    /// Keeps what was decoded last. Too much of it ends the request, unless it will be refused
    /// for something that the client should hear of first.
    fn keep(&self, bytes: &mut Spooled) -> Result<(), FilesError> {
        if self.done_bytes + bytes.size + self.buffer.len() as u64 > self.max {
            if !self.refused {
                return Err(FilesError::TooLarge);
            }
            bytes.spool = None;
        }
        bytes.keep(&self.buffer)
    }

    fn close(&mut self, current: Current) -> Result<Upload, FilesError> {
        let Current { decoder, mut bytes } = current;
        self.buffer.clear();
        let Ok(decoded) = decoder.finish(&mut self.buffer) else {
            self.refused = true;
            return Ok(Upload::NotBase64);
        };
        self.keep(&mut bytes)?;
        self.done_bytes += bytes.size;
        if let Some(spool) = &mut bytes.spool {
            spool.rest();
        }
        Ok(bytes.upload(decoded))
    }

    fn touch(&mut self) -> Result<(), FilesError> {
        if self.touched.elapsed() < TOUCH_EVERY {
            return Ok(());
        }
        self.touched = Instant::now();
        for upload in &self.done {
            if let Upload::Bytes(Spooled {
                spool: Some(spool), ..
            }) = upload
            {
                spool.touch()?;
            }
        }
        Ok(())
    }
}

impl Contents for JsonContents {
    fn begin(&mut self) {
        self.current = Some(Current {
            decoder: Decoder::new(),
            bytes: self.nothing(),
        });
    }

    fn push(&mut self, text: &str) -> Result<(), ApiError> {
        self.touch()?;
        // Nothing is left of one that was refused.
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        self.buffer.clear();
        match current.decoder.push(text, &mut self.buffer) {
            Ok(()) => {
                self.keep(&mut current.bytes)?;
                self.current = Some(current);
            }
            Err(NotBase64) => self.refused = true,
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ApiError> {
        let upload = match self.current.take() {
            Some(current) => self.close(current)?,
            None => Upload::NotBase64,
        };
        self.done.push(upload);
        Ok(())
    }

    fn forget(&mut self, number: usize) {
        if let Upload::Bytes(bytes) = self.replace(number) {
            self.done_bytes -= bytes.size;
        }
    }

    fn held(&self) -> u64 {
        let held = |bytes: &Spooled| bytes.spool.as_ref().map_or(0, Spool::held);
        let done = self.done.iter().map(|upload| match upload {
            Upload::Bytes(bytes) => held(bytes),
            _ => 0,
        });
        done.sum::<u64>() + self.current.as_ref().map_or(0, |c| held(&c.bytes))
    }
}

impl Spooled {
    fn keep(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        self.size += bytes.len() as u64;
        match &mut self.spool {
            Some(spool) => spool.push(bytes).map_err(super::failure),
            None => Ok(()),
        }
    }

    fn upload(self, decoded: decode::Decoded) -> Upload {
        match decoded {
            decode::Decoded::Blank => Upload::Blank(self),
            decode::Decoded::Bytes => Upload::Bytes(self),
        }
    }
}
