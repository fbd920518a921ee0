//! Writes JPEGs from coefficients, scan by scan: kinds that no encoder at hand writes, and what exactly they decode to.

use super::random::Random;
use crate::jpeg::Scale;
use std::sync::LazyLock;

/// A frame and its coefficients.
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) components: Vec<Component>,
    pub(crate) restart_interval: usize,
}

pub(crate) struct Component {
    pub(crate) sampling: (usize, usize),
    /// In zigzag order.
    factors: [u16; 64],
    /// Blocks in a row and rows, with those that fill up MCUs.
    columns: usize,
    rows: usize,
    /// In zigzag order, quantised.
    blocks: Vec<[i32; 64]>,
}

/// What a scan carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carries {
    /// Whole blocks.
    Blocks,
    /// DC coefficients without their lower bits.
    First { low: u8 },
    /// Bit `low` of the DC coefficients.
    Refinement { low: u8 },
    /// Bytes that stand for the AC coefficients of a progression, which nobody is to read.
    Noise,
}

impl Picture {
    /// Random blocks: flat ones, sparse ones, full ones.
    pub(crate) fn random(width: usize, height: usize, samplings: &[(usize, usize)], random: &mut Random) -> Picture {
        let across = samplings.iter().map(|sampling| sampling.0).max().unwrap_or(1);
        let down = samplings.iter().map(|sampling| sampling.1).max().unwrap_or(1);
        let (columns, rows) = (width.div_ceil(8 * across), height.div_ceil(8 * down));
        let components = samplings.iter().map(|&sampling| {
            let factors = std::array::from_fn(|_| 1 + random.below(40) as u16);
            let (columns, rows) = (columns * sampling.0, rows * sampling.1);
            let blocks = (0..columns * rows).map(|_| block(&factors, random)).collect();
            Component { sampling, factors, columns, rows, blocks }
        });
        Picture { width, height, components: components.collect(), restart_interval: 0 }
    }

    fn sampling_max(&self) -> (usize, usize) {
        let across = self.components.iter().map(|component| component.sampling.0).max().unwrap_or(1);
        let down = self.components.iter().map(|component| component.sampling.1).max().unwrap_or(1);
        (across, down)
    }

    /// Columns and rows of blocks of a component that show the picture.
    pub(crate) fn visible(&self, component: &Component) -> (usize, usize) {
        let (across, down) = self.sampling_max();
        let samples = |side: usize, own: usize, max: usize| (side * own).div_ceil(max);
        let (width, height) =
            (samples(self.width, component.sampling.0, across), samples(self.height, component.sampling.1, down));
        (width.div_ceil(8), height.div_ceil(8))
    }

    /// A file of `scans`, each of some components.
    pub(crate) fn write(&self, scans: &[(&[usize], Carries)], random: &mut Random) -> Vec<u8> {
        let progressive = !matches!(scans[0].1, Carries::Blocks);
        let mut file = vec![0xff, 0xd8];
        self.write_tables(&mut file);
        self.write_frame(&mut file, if progressive { 0xc2 } else { 0xc1 });
        for (members, carries) in scans {
            let (dc, ac) = (Code::of_differences(random), Code::of_coefficients(random));
            write_segment(&mut file, 0xc4, &[&[0x02], &dc.definition()[..], &[0x13], &ac.definition()].concat());
            self.write_scan(&mut file, members, *carries, (&dc, &ac), random);
        }
        file.extend([0xff, 0xd9]);
        file
    }

    fn write_tables(&self, file: &mut Vec<u8>) {
        for (index, component) in self.components.iter().enumerate() {
            // Every other table in 16 bits.
            let wide = index % 2 == 1;
            let mut payload = vec![(u8::from(wide) << 4) | index as u8];
            for factor in component.factors {
                let bytes = factor.to_be_bytes();
                payload.extend(&bytes[usize::from(!wide)..]);
            }
            write_segment(file, 0xdb, &payload);
        }
        if self.restart_interval > 0 {
            write_segment(file, 0xdd, &(self.restart_interval as u16).to_be_bytes());
        }
    }

    fn write_frame(&self, file: &mut Vec<u8>, marker: u8) {
        let mut payload = vec![8];
        payload.extend((self.height as u16).to_be_bytes());
        payload.extend((self.width as u16).to_be_bytes());
        payload.push(self.components.len() as u8);
        for (index, component) in self.components.iter().enumerate() {
            let (across, down) = component.sampling;
            payload.extend([id(index), (across << 4 | down) as u8, index as u8]);
        }
        write_segment(file, marker, &payload);
    }

    fn write_scan(
        &self,
        file: &mut Vec<u8>,
        members: &[usize],
        carries: Carries,
        codes: (&Code, &Code),
        random: &mut Random,
    ) {
        let mut payload = vec![members.len() as u8];
        members.iter().for_each(|&member| payload.extend([id(member), 0x23]));
        payload.extend(match carries {
            Carries::Blocks => [0, 63, 0],
            Carries::First { low } => [0, 0, low],
            Carries::Refinement { low } => [0, 0, (low + 1) << 4 | low],
            Carries::Noise => [1, 63, 0],
        });
        write_segment(file, 0xda, &payload);
        if let Carries::Noise = carries {
            let mut bits = Bits::default();
            (0..random.below(2000)).for_each(|_| bits.push(random.below(256) as u32, 8));
            return file.extend(bits.stuffed());
        }
        let mcus = self.mcus(members);
        let interval = if self.restart_interval == 0 { mcus.len() } else { self.restart_interval };
        for (count, mcus) in mcus.chunks(interval).enumerate() {
            if count > 0 {
                file.extend([0xff, 0xd0 + ((count - 1) % 8) as u8]);
            }
            file.extend(self.interval(mcus, carries, codes).stuffed());
        }
    }

    /// The blocks of each MCU: component and index.
    fn mcus(&self, members: &[usize]) -> Vec<Vec<(usize, usize)>> {
        if let [member] = *members {
            let component = &self.components[member];
            let (columns, rows) = self.visible(component);
            let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
            return places.map(|(column, row)| vec![(member, row * component.columns + column)]).collect();
        }
        let first = &self.components[members[0]];
        let (columns, rows) = (first.columns / first.sampling.0, first.rows / first.sampling.1);
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
        places.map(|(column, row)| members.iter().flat_map(|&member| self.mcu(member, column, row)).collect()).collect()
    }

    fn mcu(&self, member: usize, column: usize, row: usize) -> Vec<(usize, usize)> {
        let component = &self.components[member];
        let (across, down) = component.sampling;
        let places = (0..down).flat_map(|y| (0..across).map(move |x| (column * across + x, row * down + y)));
        places.map(|(column, row)| (member, row * component.columns + column)).collect()
    }

    fn interval(&self, mcus: &[Vec<(usize, usize)>], carries: Carries, (dc, ac): (&Code, &Code)) -> Bits {
        let (mut bits, mut predictions) = (Bits::default(), [0; 4]);
        for &(component, index) in mcus.iter().flatten() {
            let block = &self.components[component].blocks[index];
            let low = match carries {
                Carries::Refinement { low } => {
                    bits.push((block[0] >> low & 1) as u32, 1);
                    continue;
                }
                Carries::First { low } => low,
                _ => 0,
            };
            let value = block[0] >> low;
            dc.write(&mut bits, 0, value - predictions[component]);
            predictions[component] = value;
            if let Carries::Blocks = carries {
                write_coefficients(&mut bits, ac, block);
            }
        }
        bits
    }
}

impl Component {
    /// The exact samples of the block at (`column`, `row`), row by row, before they are rounded and clamped.
    pub(crate) fn samples(&self, column: usize, row: usize, scale: Scale) -> Vec<f64> {
        let block = &self.blocks[row * self.columns + column];
        let side = scale.side();
        let wave = |frequency: usize, at: usize| match frequency {
            0 => 1.0,
            _ => {
                2_f64.sqrt() * ((2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * side) as f64).cos()
            }
        };
        let sample = |x: usize, y: usize| {
            let low = ZIGZAG.iter().enumerate().filter(|(_, (u, v))| u.max(v) < &side);
            let sum = low.map(|(index, &(u, v))| {
                f64::from(block[index]) * f64::from(self.factors[index]) * wave(u, x) * wave(v, y)
            });
            128.0 + sum.sum::<f64>() / 8.0
        };
        (0..side * side).map(|n| sample(n % side, n / side)).collect()
    }
}

/// Column and row of each zigzag index: the diagonals in turn, each in the other direction.
static ZIGZAG: LazyLock<[(usize, usize); 64]> = LazyLock::new(|| {
    let mut order = std::array::from_fn(|n| (n % 8, n / 8));
    order.sort_by_key(|&(u, v)| (u + v, if (u + v) % 2 == 0 { u } else { v }));
    order
});

fn id(component: usize) -> u8 {
    10 + 7 * component as u8
}

fn block(factors: &[u16; 64], random: &mut Random) -> [i32; 64] {
    let mut block = [0; 64];
    block[0] = random.below(1800) as i32 / i32::from(factors[0]) - 900 / i32::from(factors[0]);
    let density = [0, 0, 2, 6, 20, 100][random.below(6)];
    for coefficient in &mut block[1..] {
        if random.below(100) < density {
            let bits = 1 + random.below(if density > 20 { 3 } else { 8 });
            *coefficient = (1 + random.below(1 << bits) as i32) * [1, -1][random.below(2)];
        }
    }
    // A block without an end: its last coefficient is not zero.
    if density > 0 && random.below(8) == 0 {
        block[63] = 1;
    }
    block
}

fn write_coefficients(bits: &mut Bits, code: &Code, block: &[i32; 64]) {
    let mut run = 0;
    for &coefficient in &block[1..] {
        if coefficient == 0 {
            run += 1;
            continue;
        }
        while run > 15 {
            code.write_symbol(bits, 0xf0);
            run -= 16;
        }
        code.write(bits, run, coefficient);
        run = 0;
    }
    if run > 0 {
        code.write_symbol(bits, 0);
    }
}

pub(crate) fn write_segment(file: &mut Vec<u8>, marker: u8, payload: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((payload.len() as u16 + 2).to_be_bytes());
    file.extend(payload);
}

/// A Huffman code whose symbols are in random order, so that common ones have long codes too.
struct Code {
    counts: [u8; 16],
    symbols: Vec<u8>,
}

impl Code {
    fn of_differences(random: &mut Random) -> Code {
        Code { counts: [0, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], symbols: random.shuffled(0..=15) }
    }

    fn of_coefficients(random: &mut Random) -> Code {
        let counts = [0, 1, 1, 2, 2, 3, 3, 4, 6, 8, 10, 12, 16, 24, 40, 124];
        Code { counts, symbols: random.shuffled(0..=255) }
    }

    fn definition(&self) -> Vec<u8> {
        [&self.counts[..], &self.symbols].concat()
    }

    fn write_symbol(&self, bits: &mut Bits, symbol: u8) {
        let (mut code, mut symbols) = (0, self.symbols.iter());
        for (length, &count) in (1..).zip(&self.counts) {
            for _ in 0..count {
                if symbols.next() == Some(&symbol) {
                    return bits.push(code, length);
                }
                code += 1;
            }
            code <<= 1;
        }
        panic!("symbol {symbol} has no code");
    }

    fn write(&self, bits: &mut Bits, run: u8, value: i32) {
        let size = 32 - value.unsigned_abs().leading_zeros();
        self.write_symbol(bits, run << 4 | size as u8);
        let ones = (1_u32 << size) - 1;
        bits.push((if value < 0 { value - 1 } else { value }) as u32 & ones, size);
    }
}

#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// Filled up with ones to whole bytes, a zero behind each `0xff`.
    fn stuffed(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for bits in self.0.chunks(8) {
            let byte = (0..8).fold(0, |byte, n| byte << 1 | u8::from(*bits.get(n).unwrap_or(&true)));
            bytes.push(byte);
            if byte == 0xff {
                bytes.push(0);
            }
        }
        bytes
    }
}
