/// Files that people take for a model's: what they are, and what to do.
enum ForeignFile {
    private static let pickle =
        "a pickle of PyTorch, which may run code when it is read: pass its state dict to mrp.from_torch, or save that once with "
        + "safetensors.torch.save_file"

    /// Beginnings of files, and what such a file is.
    private static let kinds: [(magic: [UInt8], name: String)] = [
        (Array("PK\u{3}\u{4}".utf8), pickle),
        ([0x80, 0x02], pickle), ([0x80, 0x03], pickle), ([0x80, 0x04], pickle), ([0x80, 0x05], pickle),
        ([0x89] + Array("HDF".utf8), "an HDF5 file, as Keras writes them: safetensors are read"),
        ([0x93] + Array("NUMPY".utf8), "an array of numpy: images are opened as a dataset"),
        ([0x89] + Array("PNG".utf8), "a PNG image: images are opened as a dataset"),
        ([0xff, 0xd8, 0xff], "a JPEG image: images are opened as a dataset"),
    ]

    /// What a file is that is no safetensors file; nil when its beginning is unknown.
    static func name(_ bytes: UnsafeRawBufferPointer) -> String? { kinds.first { bytes.starts(with: $0.magic) }?.name }
}
