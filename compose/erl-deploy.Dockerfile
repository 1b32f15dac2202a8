# The deployer alone in an image. Build it from the top of the repository:
#
#   docker build -f compose/erl-deploy.Dockerfile -t erl-deploy .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
RUN make build && install -d -m 700 /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/erl-deploy /erl-deploy
COPY --from=build --chown=65534:65534 /data /var/lib/erl-deploy
# Uploads are written beside the archives; nothing else is.
ENV HOME=/var/lib/erl-deploy TMPDIR=/var/lib/erl-deploy
USER 65534:65534
EXPOSE 9199
ENTRYPOINT ["/erl-deploy"]
CMD ["--config.file=/etc/erl-deploy/erl-deploy.yml", "serve", "--web.listen-address=:9199"]
