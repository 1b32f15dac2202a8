# The exporter alone in an image. Build it from the top of the repository:
#
#   docker build -f compose/erl-exporter.Dockerfile -t erl-exporter .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
RUN make release && install -d -m 700 /data

FROM scratch
# To know the certificates of APIs that are asked over HTTPS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/erl-exporter /erl-exporter
# A volume that is made of this folder belongs to the user, too.
COPY --from=build --chown=65534:65534 /data /var/lib/erl-exporter
USER 65534:65534
EXPOSE 9198
ENTRYPOINT ["/erl-exporter"]
CMD ["--config.file=/etc/erl-exporter/erl-exporter.yml", "--web.listen-address=:9198"]
