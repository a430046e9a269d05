# syntax=docker/dockerfile:1
# The operator as one static file in an empty image: no shell, no package manager, no root.
FROM rust:1.89-bookworm AS build
WORKDIR /src
COPY . .
# Named, or the flag would also apply to build scripts and macros, which cannot be static.
ARG TARGET=x86_64-unknown-linux-gnu
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --release --locked --target "$TARGET" --package cutover-operator --bin cutover-operator \
 && cp "target/$TARGET/release/cutover-operator" /cutover-operator

FROM scratch
COPY --from=build /cutover-operator /cutover-operator
# By number: there is no user database, and Kubernetes can then see that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/cutover-operator"]
