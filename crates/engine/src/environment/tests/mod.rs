mod building;
mod deciding;
mod migrations;
mod properties;
mod resolving;
mod telling;
mod validating;
mod world;
