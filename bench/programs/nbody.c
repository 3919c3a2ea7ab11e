/*
 * Scalar floating point: five bodies of the solar system, stepped N times by a symplectic
 * integrator.  Multiplies, adds, one square root and one division per pair.  Prints the energy.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BODIES 5

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static const double pi = 3.141592653589793;
static const double days = 365.24;

static void advance(struct body *b, double dt)
{
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
            double d2 = dx * dx + dy * dy + dz * dz;
            double mag = dt / (d2 * sqrt(d2));
            b[i].vx -= dx * b[j].mass * mag;
            b[i].vy -= dy * b[j].mass * mag;
            b[i].vz -= dz * b[j].mass * mag;
            b[j].vx += dx * b[i].mass * mag;
            b[j].vy += dy * b[i].mass * mag;
            b[j].vz += dz * b[i].mass * mag;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        b[i].x += dt * b[i].vx;
        b[i].y += dt * b[i].vy;
        b[i].z += dt * b[i].vz;
    }
}

static double energy(const struct body *b)
{
    double e = 0;
    for (int i = 0; i < BODIES; i++) {
        e += 0.5 * b[i].mass * (b[i].vx * b[i].vx + b[i].vy * b[i].vy + b[i].vz * b[i].vz);
        for (int j = i + 1; j < BODIES; j++) {
            double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
            e -= b[i].mass * b[j].mass / sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return e;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 100000;
    double sun = 4 * pi * pi;
    struct body b[BODIES] = {
        {0, 0, 0, 0, 0, 0, sun},
        {4.84143144246472090, -1.16032004402742839, -0.103622044471123109,
         0.00166007664274403694 * days, 0.00769901118419740425 * days,
         -0.0000690460016972063023 * days, 0.000954791938424326609 * sun},
        {8.34336671824457987, 4.12479856412430479, -0.403523417114321381,
         -0.00276742510726411554 * days, 0.00499852801234917238 * days,
         0.0000230417297573763929 * days, 0.000285885980666130812 * sun},
        {12.8943695621391310, -15.1111514016986312, -0.223307578892655734,
         0.00296460137564761618 * days, 0.00237847173959480950 * days,
         -0.0000296589568540237556 * days, 0.0000436624404335156298 * sun},
        {15.3796971148509165, -25.9193146099879641, 0.179258772950371181,
         0.00268067772490389322 * days, 0.00162824170038242295 * days,
         -0.0000951592254519715870 * days, 0.0000515138902046611451 * sun},
    };

    printf("%.9f\n", energy(b));
    for (int i = 0; i < n; i++) {
        advance(b, 0.01);
    }
    printf("%.9f\n", energy(b));
    return 0;
}
