//! Pretrains on images that the library generates, from Rust and without crates.
//!
//!     rustc --edition 2021 -O pretrain.rs -L /usr/local/lib         MRP_EPOCHS=1 makes it short
//!
//! The declarations are those of mrp.h; a handle is a struct that nobody can make, owned by a wrapper that destroys it.

use std::ffi::{c_char, c_void, CStr, CString};
use std::{env, fmt, ptr};

mod c {
    use super::*;

    #[repr(C)]
    pub struct Config([u8; 0]);
    #[repr(C)]
    pub struct Dataset([u8; 0]);
    #[repr(C)]
    pub struct Model([u8; 0]);
    #[repr(C)]
    pub struct Progress([u8; 0]);
    pub type ProgressFn = extern "C" fn(*const Progress, *mut c_void) -> i32;

    #[link(name = "mrp")]
    extern "C" {
        pub fn mrp_last_error() -> *const c_char;
        pub fn mrp_build_info() -> *const c_char;
        pub fn mrp_config_create(preset: *const c_char, out: *mut *mut Config) -> i32;
        pub fn mrp_config_set(config: *mut Config, key: *const c_char, value: *const c_char) -> i32;
        pub fn mrp_config_destroy(config: *mut Config);
        pub fn mrp_dataset_generate(options: *const Config, count: i64, seed: u64, out: *mut *mut Dataset) -> i32;
        pub fn mrp_dataset_destroy(dataset: *mut Dataset);
        pub fn mrp_model_create(options: *const Config, out: *mut *mut Model) -> i32;
        pub fn mrp_model_save(model: *mut Model, path: *const c_char, options: *const Config) -> i32;
        pub fn mrp_model_destroy(model: *mut Model);
        pub fn mrp_pretrain(
            model: *mut Model, dataset: *const Dataset, options: *const Config, callback: Option<ProgressFn>, user: *mut c_void,
        ) -> i32;
        pub fn mrp_progress_value(progress: *const Progress, name: *const c_char) -> f64;
    }
}

#[derive(Debug)]
struct Error {
    status: i32,
    text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} (status {})", self.text, self.status)
    }
}

fn text(pointer: *const c_char) -> String {
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// 0 and the positive notes are fine; an error carries the library's text.
fn check(status: i32) -> Result<i32, Error> {
    if status >= 0 {
        return Ok(status);
    }
    Err(Error { status, text: text(unsafe { c::mrp_last_error() }) })
}

/// A handle that is destroyed with its owner.
struct Owned<T> {
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(destroy: unsafe extern "C" fn(*mut T), make: impl FnOnce(*mut *mut T) -> i32) -> Result<Self, Error> {
        let mut pointer = ptr::null_mut();
        check(make(&mut pointer))?;
        Ok(Owned { pointer, destroy })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        unsafe { (self.destroy)(self.pointer) }
    }
}

extern "C" fn keep_loss(progress: *const c::Progress, user: *mut c_void) -> i32 {
    let loss = unsafe { c::mrp_progress_value(progress, c"loss".as_ptr()) };
    if loss.is_finite() {
        unsafe { (*user.cast::<Vec<f64>>()).push(loss) };
    }
    0
}

fn run() -> Result<(), Error> {
    println!("{}", text(unsafe { c::mrp_build_info() }));
    let options = Owned::new(c::mrp_config_destroy, |out| unsafe { c::mrp_config_create(c"mae_vit_mini_32".as_ptr(), out) })?;
    let epochs = env::var("MRP_EPOCHS").unwrap_or("5".into());
    for (key, value) in [("epochs", epochs.as_str()), ("image_size", "16"), ("batch_size", "32")] {
        let (key, value) = (CString::new(key).unwrap(), CString::new(value).unwrap());
        check(unsafe { c::mrp_config_set(options.pointer, key.as_ptr(), value.as_ptr()) })?;
    }
    let images = Owned::new(c::mrp_dataset_destroy, |out| unsafe { c::mrp_dataset_generate(options.pointer, 256, 1, out) })?;
    let model = Owned::new(c::mrp_model_destroy, |out| unsafe { c::mrp_model_create(options.pointer, out) })?;
    let mut losses: Vec<f64> = Vec::new();
    let user = ptr::from_mut(&mut losses).cast();
    check(unsafe { c::mrp_pretrain(model.pointer, images.pointer, options.pointer, Some(keep_loss), user) })?;
    println!("loss {:.4} after the first step, {:.4} after the last", losses[0], losses[losses.len() - 1]);
    check(unsafe { c::mrp_model_save(model.pointer, c"encoder.safetensors".as_ptr(), std::ptr::null()) })?;
    match check(unsafe { c::mrp_config_set(options.pointer, c"mask_rato".as_ptr(), c"0.5".as_ptr()) }) {
        Err(error) => println!("as expected: {error}"),
        Ok(_) => return Err(Error { status: 0, text: "a wrong option was accepted".into() }),
    }
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
