//! Pictures.

use broadsweep_common::dataset::Element;
use broadsweep_common::schema::{Dialect, Inputs, Outputs, Scale, Schema};
use broadsweep_data::input::InputRows;

use super::{Bound, file};

/// A picture of few bytes may be a row of 16 Mi values, each of which takes 8 bytes, and 8 more while it is kept.
pub(super) const PICTURE: Bound = Bound { fixed: 256 << 20, per_byte: 0 };

/// A picture, for a model that takes such ones.
pub(super) fn picture(bytes: &[u8]) {
    let path = file("row.png", bytes);
    let inputs = Inputs::Array { scales: vec![Scale::NONE], fills: Vec::new(), channels_first: false };
    let outputs = Outputs::Classes { column: None, names: vec!["a".to_owned(), "b".to_owned()] };
    let text = Dialect::default();
    let schema = Schema { shape: vec![8, 8, 3], inputs, element: Element::U8, outputs, text };
    let _ = InputRows::open(&schema, &path).map(|mut rows| rows.next_piece(1));
}

pub(super) fn picture_seeds() -> Vec<Vec<u8>> {
    let png = |color, depth, channels: usize| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
        encoder.set_color(color);
        encoder.set_depth(depth);
        let pixels: Vec<u8> = (0..64 * channels).map(|place| place as u8).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        bytes
    };
    vec![
        png(png::ColorType::Rgb, png::BitDepth::Eight, 3),
        png(png::ColorType::Grayscale, png::BitDepth::Eight, 1),
        png(png::ColorType::Rgba, png::BitDepth::Sixteen, 8),
        JPEG.to_vec(),
    ]
}

/// A grey picture of 8 x 8 pixels (Pillow 13, quality 50).
const JPEG: &[u8] = include_bytes!("../../studies/grey.jpg");
