/// A kind of device that runs graphs.
public protocol Backend {
    /// The width of real numbers in the programs that it compiles.
    var precision: Precision { get }

    /// Devices that run a program side by side, each on its share of the batch. They have one state.
    var replicas: Int { get }

    /// Plans and prepares a graph: of one share, where there are several replicas.
    ///
    /// - `outputs` can be read after each run.
    /// - `guards` are real scalars: a run updates the state only if all of them are finite. They can be read like outputs.
    /// - `state` holds a tensor for every bound value of the graph, by name. The program keeps these tensors and updates them, at once or when
    ///   asked to (`Program.downloadState`).
    ///
    /// Errors: `.memory`; `.unsupported` for an operation that the device lacks; `.internalError` when the state does not fit the graph or
    /// an operation updates an input that is not bound.
    func compile(_ graph: Graph, outputs: [Value], guards: [Value], state: [String: Tensor]) throws -> any Program
}

extension Backend {
    public var replicas: Int { 1 }

    public func compile(_ graph: Graph, outputs: [Value], state: [String: Tensor]) throws -> any Program {
        try compile(graph, outputs: outputs, guards: [], state: state)
    }
}

/// End of a run of a program.
public enum RunOutcome: Sendable {
    case finished
    /// Without updates.
    case cancelled
    /// A guard is not finite: without updates. Outputs can be read.
    case notFinite
}

/// A compiled graph with its state: inputs are written, it runs, outputs are read. Used by one thread at a time.
public protocol Program: AnyObject {
    var precision: Precision { get }

    /// Bytes that the program holds beside the state tensors of its owner.
    var bytes: Int { get }

    /// The replica whose inputs `withInput` gives and whose outputs `withOutput` reads.
    var replica: Int { get set }

    /// Gives the body the host memory of an input, row-major, with its contents of the run before. Nil when the graph does not use such an
    /// input.
    func withInput<Result>(_ name: String, _ body: (UnsafeMutableRawBufferPointer) throws -> Result) throws -> Result?

    /// Runs the work and then the updates of the state.
    ///
    /// - `cancel` is polled: soon after it becomes nonzero the call returns.
    /// - `poll` is called on this thread now and then.
    /// - `updates` false leaves out the updates; what the work itself adds up stays.
    /// - `meanwhile` is called once, on this thread, while a device works: it may fill the inputs of the next run. Programs of the processor
    ///   never call it.
    ///
    /// An error of the work leaves the state as it was.
    func execute(
        cancel: UnsafePointer<Int32>?, poll: (() -> Void)?, updates: Bool, meanwhile: (() -> Void)?
    ) throws -> RunOutcome

    /// Gives the body an output of the last run, row-major. Errors: `.internalError` for a value that is not among the outputs.
    func withOutput<Result>(_ value: Value, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result

    /// One floating-point element of an output as a double.
    func scalar(_ value: Value, _ index: Int) throws -> Double

    /// Brings the state into the tensors of the owner; they may be read then.
    func downloadState() throws

    /// Takes the state from the tensors of the owner, after these were changed.
    func uploadState() throws

    /// Runs the work again, without updates, and names the place of the first NaN or infinite value: an input, a bound tensor, or an
    /// operation with the bound tensor that was read last before it. Nil when all values are finite.
    func firstNonFinite() throws -> String?
}

extension Program {
    public var replica: Int {
        get { 0 }
        set {}
    }

    /// Runs work and updates. Returns whether it came to the end.
    @discardableResult
    public func run(cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil, updates: Bool = true) throws -> Bool {
        try execute(cancel: cancel, poll: poll, updates: updates, meanwhile: nil) == .finished
    }

    // MARK: Inputs

    /// Gives the body an input as elements of its own type.
    public func withInput<Element, Result>(
        _ name: String, as _: Element.Type, _ body: (UnsafeMutableBufferPointer<Element>) throws -> Result
    ) throws -> Result? {
        try withInput(name) { try body($0.bindMemory(to: Element.self)) }
    }

    /// Copies elements to the beginning of an input; false when the graph does not use it. Errors: `.internalError` when they do not fit.
    @discardableResult
    public func write<Element>(_ elements: UnsafeBufferPointer<Element>, to name: String) throws -> Bool {
        try withInput(name) { memory -> Void in
            let source = UnsafeRawBufferPointer(elements)
            guard source.count <= memory.count else {
                throw MRPError(.internalError, "\(source.count) bytes for the input '\(name)' of \(memory.count)")
            }
            memory.copyMemory(from: source)
        } != nil
    }

    @discardableResult
    public func write(_ elements: [Int32], to name: String) throws -> Bool {
        try elements.withUnsafeBufferPointer { try write($0, to: name) }
    }

    /// Writes real numbers, converted to the program's precision.
    @discardableResult
    public func write(reals: [some BinaryFloatingPoint], to name: String) throws -> Bool {
        var doubles: [Double] = []
        for value in reals { doubles.append(Double(value)) }
        if precision == .float64 { return try doubles.withUnsafeBufferPointer { try write($0, to: name) } }
        return try doubles.map { Float($0) }.withUnsafeBufferPointer { try write($0, to: name) }
    }

    /// Writes a scalar of the step; false when no operation of the graph reads it.
    @discardableResult
    public func write(_ value: Double, to scalar: StepScalar) throws -> Bool {
        try withInput(scalar.rawValue, as: Double.self) { $0.update(repeating: value) } != nil
    }

    // MARK: Outputs

    /// Gives the body an output as elements of its own type.
    public func withOutput<Element, Result>(
        _ value: Value, as _: Element.Type, _ body: (UnsafeBufferPointer<Element>) throws -> Result
    ) throws -> Result {
        try withOutput(value) { try body($0.bindMemory(to: Element.self)) }
    }

    /// Copies the beginning of an output, as many bytes as there is room for.
    public func read(_ value: Value, into memory: UnsafeMutableRawBufferPointer) throws {
        try withOutput(value) { memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0.prefix(memory.count))) }
    }

    public func scalar(_ value: Value) throws -> Double { try scalar(value, 0) }

    /// All elements of a real output as doubles.
    public func reals(_ value: Value) throws -> [Double] {
        guard precision == .float64 else { return try withOutput(value, as: Float.self) { $0.map(Double.init) } }
        return try withOutput(value, as: Double.self) { Array($0) }
    }
}
