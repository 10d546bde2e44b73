import MRPEngine
import MRPModels

/// What a model's JSON says of a convolutional network: `model_type`, and under `architecture` torchvision's or timm's name of the size.
extension ModelConfiguration {
    static let residualType = "resnet"
    static let convNeXtType = "convnextv2"
    static let convolutionalTypes = [residualType, convNeXtType]
    static let convolutionalKeys = "architecture, stem, base_width, image_size, num_channels"

    static func members(_ network: any ConvolutionalEncoder) -> [(key: String, value: JSON)] {
        var members: [(key: String, value: JSON)] = []
        func add(_ type: String, _ name: String, _ stem: ResidualNetwork.Stem, _ width: Int) {
            members = [
                ("model_type", .string(type)), ("architecture", .string(name)), ("stem", .string(stem.rawValue)),
                ("base_width", .integer(width)),
            ]
        }
        if let network = network as? ResidualNetwork { add(residualType, network.size.name, network.stem, network.baseWidth) }
        if let network = network as? ConvNeXt { add(convNeXtType, network.size.name, network.stem, network.baseWidth) }
        let geometry = network.geometry
        members.append(("image_size", .array([.integer(geometry.height), .integer(geometry.width)])))
        members.append(("num_channels", .integer(geometry.channels)))
        if geometry.patchHeight > 1 { members.append(("cell_size", .integer(geometry.patchHeight))) }
        return members
    }

    static func convolutionalNetwork(_ json: JSON) throws -> any ConvolutionalEncoder {
        let name = json["architecture"]?.string ?? ""
        guard Encoders.convolutionalNames.contains(name) else {
            throw MRPError(.format, "the configuration has architecture '\(name)', which is none of: \(Encoders.convolutionalNames)")
        }
        guard let stem = ResidualNetwork.Stem(rawValue: json["stem"]?.string ?? ""), let width = json["base_width"]?.integer,
            let image = json["image_size"]?.array?.compactMap(\.integer), image.count == 2, let channels = json["num_channels"]?.integer
        else { throw MRPError(.format, "the configuration of a convolutional network needs \(convolutionalKeys)") }
        return try Encoders.convolutional(
            name, stem: stem, width: width, channels: channels, imageHeight: image[0], imageWidth: image[1],
            cellSize: json["cell_size"]?.integer)
    }
}

extension Encoders {
    /// A network by its name in `convolutionalNames`; width nil: the usual one.
    static func convolutional(
        _ name: String, stem: ResidualNetwork.Stem, width: Int?, channels: Int, imageHeight: Int, imageWidth: Int, cellSize: Int?
    ) throws -> any ConvolutionalEncoder {
        if let size = ConvNeXt.sizes.first(where: { $0.name == name }) {
            return try ConvNeXt(
                size, stem: stem, baseWidth: width, channels: channels, height: imageHeight, width: imageWidth, cellSize: cellSize)
        }
        let size = ResidualNetwork.sizes.first { $0.name == name } ?? ResidualNetwork.sizes[0]
        return try ResidualNetwork(
            size, stem: stem, baseWidth: width ?? 64, channels: channels, height: imageHeight, width: imageWidth, cellSize: cellSize)
    }

    /// The same network for other images.
    static func resized(_ network: any ConvolutionalEncoder, _ geometry: PatchGeometry, cellSize: Int?) throws -> any ConvolutionalEncoder {
        if let network = network as? ConvNeXt {
            return try ConvNeXt(
                network.size, stem: network.stem, baseWidth: network.baseWidth, channels: geometry.channels, height: geometry.height,
                width: geometry.width, cellSize: cellSize)
        }
        guard let network = network as? ResidualNetwork else { throw MRPError(.internalError, "an unknown convolutional network") }
        return try ResidualNetwork(
            network.size, stem: network.stem, baseWidth: network.baseWidth, channels: geometry.channels, height: geometry.height,
            width: geometry.width, cellSize: cellSize)
    }
}
