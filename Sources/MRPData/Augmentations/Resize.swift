import MRPEngine
