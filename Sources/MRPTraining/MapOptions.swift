import MRPOptions

/// Options of maps: classes of pixels.
enum MapOptions {
    static let mode = Option(
        "map_mode", .choice(Mode.self), auto: "slide where training saw parts at their own scale (augmentation random_crop), else whole",
        section: .measurement,
        "Task segment: how an image gets to the network. whole: resized to its size, and the scores back; slide: in windows of its size at the image's own scale, whose scores are averaged where they overlap, the middle of a window weighing more than its edges."
    )
    static let overlap = Option(
        "window_overlap", .number(0...0.9), default: 0.25, section: .measurement,
        "map_mode slide: share of a window's side that neighbours have in common.")

    static let all: [any OptionDeclaration] = [mode, overlap]

    enum Mode: String, CaseIterable { case whole, slide }
}
