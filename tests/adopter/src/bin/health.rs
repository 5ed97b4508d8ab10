fn main() -> std::process::ExitCode {
    notes::SERVICE.run_health("GET /health")
}
