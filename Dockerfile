# The image contains one static binary and the root certificates of public authorities.

FROM --platform=$BUILDPLATFORM rust:1.95-bookworm AS build
ARG TARGETARCH
ARG REVISION=unknown
WORKDIR /src
COPY deploy/image/compile deploy/image/executed deploy/image/no-unwinding.ld deploy/image/
COPY Cargo.toml Cargo.lock build.rs ./
COPY crates crates
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=target-$TARGETARCH,target=/src/target \
    CACHEPULSE_REVISION="$REVISION" deploy/image/compile "$TARGETARCH"

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cachepulse" \
      org.opencontainers.image.description="A health agent for Azure Cache for Redis, Azure Managed Redis and any Redis or Valkey" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/cachepulse /cachepulse
COPY LICENSE /LICENSE
USER 65532:65532
EXPOSE 9860
# The check asks where CACHEPULSE_HEALTH_LISTEN or CACHEPULSE_LISTEN says, or the file in CACHEPULSE_CONFIG.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/cachepulse", "healthcheck"]
ENTRYPOINT ["/cachepulse"]
CMD ["run"]
