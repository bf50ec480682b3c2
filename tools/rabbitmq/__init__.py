"""A RabbitMQ broker of one's own, for tests and demonstrations, without root."""
