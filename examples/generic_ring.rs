//! The ring alone, with frames of your own: a slow reader is lapped and told how much it lost, and
//! still gets the terminal frame.
//!
//! `cargo run --example generic_ring`

use framebus::ring::{Delivery, Geometry, Ring, RingConfig, Route, Select, Start};
use std::error::Error;
use std::ops::ControlFlow;

/// A frame of any type will do.
#[derive(Debug)]
enum Price {
    Cents(u32),
    Close,
}

fn main() -> Result<(), Box<dyn Error>> {
    // One shard that holds few frames, so that there is something to lose.
    let lane = Geometry::for_window(8);
    let ring = Ring::new(&RingConfig {
        frames: lane,
        terminals: lane,
        ..RingConfig::default()
    });
    let mut reader = ring.subscribe(Select::All, None, Start::Oldest)?;

    let route = Route::default();
    ring.publish(route.terminal(), Price::Close)?;
    for cents in 0..100 {
        ring.publish(route, Price::Cents(cents))?;
    }

    let (mut given, mut lost) = (0, 0);
    reader.poll(|delivery| {
        match delivery {
            Delivery::Frame(sequence, Price::Close) => {
                println!("{sequence}: closed");
                given += 1;
            }
            Delivery::Frame(sequence, Price::Cents(cents)) => {
                println!("{sequence}: {cents} cents");
                given += 1;
            }
            Delivery::Gap(gap) => {
                println!("{} to {}: {} lost", gap.first, gap.last, gap.lost);
                lost += gap.lost;
            }
        }
        ControlFlow::Continue(())
    });
    assert_eq!(given + lost, 101, "delivered and told");
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
