//! Files that are forged in one part, for tests.

/// A struct as the compact protocol has it: fields in their order.
#[derive(Clone, Default)]
pub(super) struct Form(pub(super) Vec<u8>, u8);

impl Form {
    pub(super) fn head(mut self, field: u8, kind: u8) -> Self {
        self.0.push((field - self.1) << 4 | kind);
        self.1 = field;
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub(super) fn whole(self, field: u8, value: i64) -> Self {
        self.head(field, 6).varint(((value << 1) ^ (value >> 63)) as u64)
    }

    pub(super) fn text(self, field: u8, text: &str) -> Self {
        self.head(field, 8).varint(text.len() as u64).bytes(text.as_bytes())
    }

    pub(super) fn inner(self, field: u8, inner: Self) -> Self {
        self.head(field, 12).bytes(&inner.end())
    }

    pub(super) fn list(self, field: u8, elements: Vec<Self>) -> Self {
        let list = self.head(field, 9).bytes(&[0xfc]).varint(elements.len() as u64);
        elements.into_iter().fold(list, |list, element| list.bytes(&element.end()))
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

/// What is forged; everything else is good. A column of texts or of whole numbers of 32 bits, in one group.
#[derive(Clone)]
pub(super) struct Forged {
    pub(super) physical: i64,
    pub(super) is_optional: bool,
    pub(super) codec: i64,
    pub(super) rows: i64,
    pub(super) chunk: Vec<u8>,
    /// What the footer says of where the chunk begins and of its length, unless that is true.
    pub(super) start: Option<i64>,
    pub(super) length: Option<i64>,
}

pub(super) const WHOLE: i64 = 1;
pub(super) const TEXT: i64 = 6;

impl Forged {
    pub(super) fn new(physical: i64, rows: i64, pages: &[Vec<u8>]) -> Self {
        let chunk = pages.concat();
        Self { physical, is_optional: false, codec: 0, rows, chunk, start: None, length: None }
    }

    pub(super) fn file(&self) -> Vec<u8> {
        self.file_of_groups(1)
    }

    /// With that many groups, all of the same chunk.
    pub(super) fn file_of_groups(&self, groups: usize) -> Vec<u8> {
        let whole = Form::default().text(4, "rows").whole(5, 1);
        let column = Form::default().whole(1, self.physical).whole(3, i64::from(self.is_optional)).text(4, "a");
        let values = Form::default()
            .whole(1, self.physical)
            .head(2, 9)
            .bytes(&[0x15, 0])
            .head(3, 9)
            .bytes(b"\x18\x01a")
            .whole(4, self.codec)
            .whole(5, self.rows)
            .whole(6, 0)
            .whole(7, self.length.unwrap_or(self.chunk.len() as i64))
            .whole(9, self.start.unwrap_or(4));
        let chunk = Form::default().whole(2, 0).inner(3, values);
        let group = Form::default().list(1, vec![chunk]).whole(2, 0).whole(3, self.rows);
        let footer =
            Form::default().whole(1, 1).list(2, vec![whole, column]).whole(3, self.rows).list(4, vec![group; groups]);
        with_footer(&self.chunk, &footer.end())
    }
}

pub(super) fn with_footer(chunks: &[u8], footer: &[u8]) -> Vec<u8> {
    [b"PAR1", chunks, footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

/// A page of the first version, and its header: of so many values, encoded so.
pub(super) fn page(values: i64, encoding: i64, bytes: &[u8]) -> Vec<u8> {
    page_of(bytes.len() as i64, bytes, values, encoding)
}

/// One that says that it becomes so many bytes.
pub(super) fn page_of(unpacked: i64, bytes: &[u8], values: i64, encoding: i64) -> Vec<u8> {
    let data = Form::default().whole(1, values).whole(2, encoding).whole(3, 3).whole(4, 3);
    let header = Form::default().whole(1, 0).whole(2, unpacked).whole(3, bytes.len() as i64).inner(5, data);
    [header.end(), bytes.to_vec()].concat()
}

/// One of the second version.
pub(super) fn second_page(values: i64, levels: [i64; 2], bytes: &[u8]) -> Vec<u8> {
    let [repetitions, definitions] = levels;
    let data = Form::default().whole(1, values).whole(2, 0).whole(3, values).whole(4, 0);
    let data = data.whole(5, definitions).whole(6, repetitions);
    let size = bytes.len() as i64;
    let header = Form::default().whole(1, 3).whole(2, size).whole(3, size).inner(8, data);
    [header.end(), bytes.to_vec()].concat()
}

pub(super) fn dictionary(values: i64, bytes: &[u8]) -> Vec<u8> {
    let data = Form::default().whole(1, values).whole(2, 0);
    let size = bytes.len() as i64;
    let header = Form::default().whole(1, 2).whole(2, size).whole(3, size).inner(7, data);
    [header.end(), bytes.to_vec()].concat()
}

/// Whole numbers by their differences, in one miniblock.
pub(super) fn differences(numbers: &[i64]) -> Vec<u8> {
    let steps: Vec<i64> = numbers.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let least = steps.iter().copied().min().unwrap_or(0);
    let block = numbers.len().next_multiple_of(128);
    let zigzag = |number: i64| ((number << 1) ^ (number >> 63)) as u64;
    let first = numbers.first().copied().unwrap_or(0);
    let head = Form::default().varint(block as u64).varint(1).varint(numbers.len() as u64).varint(zigzag(first));
    let mut steps: Vec<u8> = steps.iter().flat_map(|step| ((step - least) as u32).to_le_bytes()).collect();
    if steps.is_empty() {
        return head.0;
    }
    steps.resize(block * 4, 0);
    head.varint(zigzag(least)).bytes(&[32]).bytes(&steps).0
}

pub(super) fn texts(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()).collect()
}
